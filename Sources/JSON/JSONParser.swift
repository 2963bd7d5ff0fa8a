/// Parses JSON text as RFC 8259 defines it, and refuses text that parsers interpret differently.
///
/// On top of the grammar it refuses keys that occur twice in one object, after unescaping, escapes of lone surrogates,
/// a byte order mark, and documents beyond `JSONLimits`. `\u0000` is accepted and arrives as U+0000.
public struct JSONParser {
    private let bytes: [UInt8]
    private let limits: JSONLimits
    private var position = 0
    private var depth = 0
    private var valueCount = 0

    /// The one value that `bytes` hold, with nothing but whitespace around it.
    public static func parse(
        _ bytes: [UInt8],
        limits: JSONLimits = JSONLimits()
    ) throws(JSONParseFailure) -> JSONValue {
        var parser = JSONParser(bytes, limits: limits)
        return try parser.parseDocument()
    }

    /// The one value that `bytes` hold, with nothing but whitespace around it. Copies the bytes first.
    public static func parse(
        _ bytes: Span<UInt8>,
        limits: JSONLimits = JSONLimits()
    ) throws(JSONParseFailure) -> JSONValue {
        var copy: [UInt8] = []
        copy.reserveCapacity(bytes.count)
        for index in bytes.indices {
            copy.append(bytes[index])
        }
        return try parse(copy, limits: limits)
    }

    private init(_ bytes: [UInt8], limits: JSONLimits) {
        self.bytes = bytes
        self.limits = limits
    }

    private mutating func parseDocument() throws(JSONParseFailure) -> JSONValue {
        // RFC 8259 §8.1 lets a parser ignore a byte order mark; refusing it keeps the offsets unambiguous.
        guard !bytes.starts(with: [0xEF, 0xBB, 0xBF]) else { throw failure("there is a byte order mark") }
        let value = try parseValue()
        skipWhitespace()
        guard position == bytes.count else { throw failure("there is something after the value") }
        return value
    }

    /// Parses a value and the whitespace before it.
    private mutating func parseValue() throws(JSONParseFailure) -> JSONValue {
        skipWhitespace()
        guard let byte = peek() else { throw failure("a value is missing") }
        valueCount += 1
        guard valueCount <= limits.valueCountLimit else {
            throw failure("there are more than \(limits.valueCountLimit) values")
        }
        switch byte {
        case UInt8(ascii: "{"): return .object(try parseObject())
        case UInt8(ascii: "["): return .array(try parseArray())
        case UInt8(ascii: "\""): return .string(try parseString())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try parseNumber())
        case UInt8(ascii: "t"): return try parseWord("true", .bool(true))
        case UInt8(ascii: "f"): return try parseWord("false", .bool(false))
        case UInt8(ascii: "n"): return try parseWord("null", .null)
        default: throw failure("a value is expected")
        }
    }

    private mutating func parseWord(_ word: StaticString, _ value: JSONValue) throws(JSONParseFailure) -> JSONValue {
        for byte in word.description.utf8 {
            guard peek() == byte else { throw failure("a value is expected") }
            position += 1
        }
        return value
    }

    private mutating func enter() throws(JSONParseFailure) {
        guard depth < limits.depthLimit else { throw failure("the nesting is deeper than \(limits.depthLimit)") }
        depth += 1
        position += 1
        skipWhitespace()
    }

    private mutating func leave() {
        depth -= 1
        position += 1
    }

    private mutating func parseArray() throws(JSONParseFailure) -> [JSONValue] {
        try enter()
        var elements: [JSONValue] = []
        if peek() != UInt8(ascii: "]") {
            elements.append(try parseValue())
            while try parseSeparator(before: UInt8(ascii: "]")) {
                elements.append(try parseValue())
            }
        }
        leave()
        return elements
    }

    private mutating func parseObject() throws(JSONParseFailure) -> JSONObject {
        try enter()
        var object = JSONObject()
        // Bytes and not strings: RFC 8259 §8.3 compares code unit by code unit.
        var keys: Set<[UInt8]> = []
        if peek() != UInt8(ascii: "}") {
            try parseMember(of: &object, keys: &keys)
            while try parseSeparator(before: UInt8(ascii: "}")) {
                skipWhitespace()
                try parseMember(of: &object, keys: &keys)
            }
        }
        leave()
        return object
    }

    private mutating func parseMember(
        of object: inout JSONObject,
        keys: inout Set<[UInt8]>
    ) throws(JSONParseFailure) {
        let keyOffset = position
        guard peek() == UInt8(ascii: "\"") else { throw failure("a key in quotes is expected") }
        let key = try parseString()
        guard keys.insert(Array(key.utf8)).inserted else {
            throw JSONParseFailure(offset: keyOffset, reason: "the key occurs twice in the object")
        }
        skipWhitespace()
        guard peek() == UInt8(ascii: ":") else { throw failure("a colon is expected") }
        position += 1
        object.appendUnchecked(key, try parseValue())
    }

    /// Takes a comma and returns true, or sees `end` and returns false.
    private mutating func parseSeparator(before end: UInt8) throws(JSONParseFailure) -> Bool {
        skipWhitespace()
        if peek() == end { return false }
        guard peek() == UInt8(ascii: ",") else {
            throw failure(end == UInt8(ascii: "]") ? "a comma or ] is expected" : "a comma or } is expected")
        }
        position += 1
        return true
    }

    /// RFC 8259 §6.
    private mutating func parseNumber() throws(JSONParseFailure) -> JSONNumber {
        let start = position
        if peek() == UInt8(ascii: "-") { position += 1 }
        if peek() == UInt8(ascii: "0") {
            position += 1
            guard !isDigit(peek()) else { throw failure("a number has a leading zero") }
        } else {
            try skipDigits()
        }
        if peek() == UInt8(ascii: ".") {
            position += 1
            try skipDigits()
        }
        if peek() == UInt8(ascii: "e") || peek() == UInt8(ascii: "E") {
            position += 1
            if peek() == UInt8(ascii: "+") || peek() == UInt8(ascii: "-") { position += 1 }
            try skipDigits()
        }
        return JSONNumber(validated: String(decoding: bytes[start..<position], as: UTF8.self))
    }

    /// At least one digit.
    private mutating func skipDigits() throws(JSONParseFailure) {
        guard isDigit(peek()) else { throw failure("a digit is expected") }
        while isDigit(peek()) { position += 1 }
    }

    /// RFC 8259 §7. Copies stretches without escapes at once.
    private mutating func parseString() throws(JSONParseFailure) -> String {
        position += 1
        var unescaped: [UInt8] = []
        var stretchStart = position
        while let byte = peek() {
            switch byte {
            case UInt8(ascii: "\""):
                unescaped += bytes[stretchStart..<position]
                position += 1
                return String(decoding: unescaped, as: UTF8.self)
            case UInt8(ascii: "\\"):
                unescaped += bytes[stretchStart..<position]
                unescaped += String(try parseEscape()).utf8
                stretchStart = position
            case 0..<0x20:
                throw failure("there is a control character in a string")
            case 0x20..<0x80:
                position += 1
            default:
                try skipMultibyteScalar()
            }
        }
        throw failure("a string has no end")
    }

    private mutating func parseEscape() throws(JSONParseFailure) -> Unicode.Scalar {
        let start = position
        position += 1
        guard let byte = peek() else { throw failure("a string has no end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{08}"
        case UInt8(ascii: "f"): return "\u{0C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return try parseUnicodeEscape(start: start)
        default: throw JSONParseFailure(offset: start, reason: "there is an unknown escape in a string")
        }
    }

    /// The scalar of one escape, or of two that are a surrogate pair. The first `\u` has been taken.
    private mutating func parseUnicodeEscape(start: Int) throws(JSONParseFailure) -> Unicode.Scalar {
        let loneSurrogate = JSONParseFailure(offset: start, reason: "an escape is half of a surrogate pair")
        let first = UInt32(try parseFourHexadecimalDigits())
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard first < 0xDC00, bytes[position...].starts(with: [UInt8(ascii: "\\"), UInt8(ascii: "u")]) else {
            throw loneSurrogate
        }
        position += 2
        let second = UInt32(try parseFourHexadecimalDigits())
        guard (0xDC00...0xDFFF).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
        else {
            throw loneSurrogate
        }
        return scalar
    }

    private mutating func parseFourHexadecimalDigits() throws(JSONParseFailure) -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard let byte = peek(), let digit = hexadecimalValue(byte) else {
                throw failure("a hexadecimal digit is expected")
            }
            value = value << 4 | digit
            position += 1
        }
        return value
    }

    /// Passes one scalar of two to four bytes. Unicode §3.9, table 3-7: neither overlong nor a surrogate.
    private mutating func skipMultibyteScalar() throws(JSONParseFailure) {
        let second: ClosedRange<UInt8>
        let length: Int
        switch bytes[position] {
        case 0xC2...0xDF: (length, second) = (2, 0x80...0xBF)
        case 0xE0: (length, second) = (3, 0xA0...0xBF)
        case 0xED: (length, second) = (3, 0x80...0x9F)
        case 0xE1...0xEF: (length, second) = (3, 0x80...0xBF)
        case 0xF0: (length, second) = (4, 0x90...0xBF)
        case 0xF1...0xF3: (length, second) = (4, 0x80...0xBF)
        case 0xF4: (length, second) = (4, 0x80...0x8F)
        default: throw failure("the text is not UTF-8")
        }
        let rest = bytes[position...].prefix(length).dropFirst()
        guard rest.count == length - 1, let first = rest.first, second.contains(first),
            rest.dropFirst().allSatisfy({ $0 & 0xC0 == 0x80 })
        else {
            throw failure("the text is not UTF-8")
        }
        position += length
    }

    private mutating func skipWhitespace() {
        while let byte = peek(), byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { position += 1 }
    }

    private func peek() -> UInt8? {
        position < bytes.count ? bytes[position] : nil
    }

    private func isDigit(_ byte: UInt8?) -> Bool {
        guard let byte else { return false }
        return UInt8(ascii: "0") <= byte && byte <= UInt8(ascii: "9")
    }

    private func hexadecimalValue(_ byte: UInt8) -> UInt16? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt16(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt16(byte - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt16(byte - UInt8(ascii: "A") + 10)
        default: nil
        }
    }

    private func failure(_ reason: String) -> JSONParseFailure {
        JSONParseFailure(offset: position, reason: reason)
    }
}
