import FuzzSupport
import HTTP

/// Follows requests that were accepted through the bytes in which they came, as the least clever of readers would: a
/// section ends at the first empty line, a line at CRLF, a name at the first colon. Where it sees anything else than
/// the parser did, two readers understand one message differently, and requests can be smuggled.
struct WireReader {
    private var rest: ArraySlice<UInt8>

    init(_ input: [UInt8]) { rest = input[...] }

    /// Reads the next request, which is to be this one.
    mutating func check(_ request: Request) {
        for _ in 0..<2 where rest.starts(with: [0x0D, 0x0A]) { rest = rest.dropFirst(2) }
        let head = request.head
        let words = line().split(separator: 0x20, omittingEmptySubsequences: false).map(Array.init)
        require(words.count == 3, "a request line has three words", request)
        require(words[0].elementsEqual(head.method.rawValue.utf8), "the first word is the method", request)
        require(words[1].elementsEqual(head.target.raw.utf8), "the second word is the target", request)
        let isOld = words[2].elementsEqual("HTTP/1.0".utf8)
        require(words[2].starts(with: "HTTP/1.".utf8) && words[2].count == 8, "the third word is HTTP/1", request)
        require(isOld == (head.version == .http10), "the third word is the version", request)
        let fields = section()
        require(fields.count == head.fields.count, "there are as many lines as fields", request)
        for (line, field) in zip(fields, head.fields) {
            require(line.name.elementsEqual(field.name.utf8), "a name goes up to the colon", request)
            require(line.value.elementsEqual(field.value.utf8), "a value begins behind the colon", request)
        }
        let body = head.framing == .chunked ? chunks() : Array(take(request.body.count))
        require(body.elementsEqual(request.body), "the body is where it is said to be", request)
    }

    private mutating func take(_ count: Int) -> ArraySlice<UInt8> {
        require(count <= rest.count, "an accepted request has come to its end", count)
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }

    /// The bytes up to the next CRLF, which is taken, too.
    private mutating func line() -> ArraySlice<UInt8> {
        for index in rest.indices.dropLast() where rest[index] == 0x0D && rest[index + 1] == 0x0A {
            let line = rest[..<index]
            rest = rest[(index + 2)...]
            require(!line.contains { $0 == 0x0D || $0 == 0x0A || $0 == 0 }, "a line is one line to everybody", line)
            return line
        }
        require(false, "an accepted line has an end", rest)
        return []
    }

    private mutating func section() -> [(name: ArraySlice<UInt8>, value: ArraySlice<UInt8>)] {
        var fields: [(name: ArraySlice<UInt8>, value: ArraySlice<UInt8>)] = []
        while true {
            let line = line()
            guard !line.isEmpty else { return fields }
            let name = line.prefix { $0 != UInt8(ascii: ":") }
            require(name.count < line.count && !name.isEmpty, "a field line has a name and a colon", line)
            var value = line[(name.endIndex + 1)...].drop { $0 == 0x20 || $0 == 0x09 }
            while let last = value.last, last == 0x20 || last == 0x09 { value.removeLast() }
            fields.append((name, value))
        }
    }

    private mutating func chunks() -> [UInt8] {
        var body: [UInt8] = []
        while true {
            let line = line()
            let digits = line.prefix { $0 != UInt8(ascii: ";") }
            let isHexadecimal = digits.allSatisfy { $0 < 0x80 && Character(Unicode.Scalar($0)).isHexDigit }
            let size = isHexadecimal ? Int(String(decoding: digits, as: UTF8.self), radix: 16) : nil
            require(size != nil, "a chunk begins with its size", line)
            guard let size, size > 0 else {
                _ = section()
                return body
            }
            body += take(size)
            require(take(2).elementsEqual([0x0D, 0x0A]), "a chunk ends with a line end", line)
        }
    }
}
