import FuzzSupport
import HTTP

/// What RFC 9110 and RFC 9112 demand of a request, and this server besides. Nothing of it is shared with the parser.
enum Rules {
    static func check(_ request: Request, _ limits: Limits) {
        let head = request.head
        require(isToken(head.method.rawValue), "a method is a token", head)
        require(head.method.rawValue.utf8.count <= limits.methodBytesLimit, "a method is within its limit", head)
        check(head.target, head, limits)
        check(head.fields, limits)
        checkHost(head)
        checkFraming(request, limits)
        // Blanks separate here, too: who says `close` in whatever way means it.
        let options = members(of: "connection", head.fields).flatMap { $0.split { $0 == " " || $0 == "\t" } }
        let keeps = !options.contains("close") && (head.version == .http11 || options.contains("keep-alive"))
        require(head.keepsConnection == keeps, "a connection is kept as RFC 9112 §9.3 says", head)
        let expectations = head.version == .http11 ? members(of: "expect", head.fields) : []
        require(expectations.allSatisfy { $0 == "100-continue" }, "no other expectation is accepted", head)
        let hasContent = head.framing != .none && head.framing != .length(0)
        require(head.expectsContinue == (!expectations.isEmpty && hasContent), "100 is sent where it helps", head)
    }

    private static func check(_ target: RequestTarget, _ head: RequestHead, _ limits: Limits) {
        let raw = target.raw.utf8
        require((1...limits.requestTargetBytesLimit).contains(raw.count), "a target is within its limit", target)
        require(raw.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") }, "a target is an URI", target)
        for (index, segment) in target.segments.enumerated() {
            require(!segment.isEmpty || index == target.segments.count - 1, "a segment is not empty", target)
            require(segment != "." && segment != "..", "a segment is not one of dots", target)
            let isClean = segment.unicodeScalars.allSatisfy { scalar in
                scalar != "/" && scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value)
            }
            require(isClean, "a segment has no slash and no control character", target)
        }
        if target.segments.isEmpty {
            require(head.method == .options && target.path == "*", "only OPTIONS is for the server as a whole", target)
        }
        for pair in target.query {
            require(!pair.name.utf8.contains(0) && !pair.value.utf8.contains(0), "a query has no NUL", target)
        }
    }

    private static func check(_ fields: Fields, _ limits: Limits) {
        require(fields.count <= limits.headerFieldsLimit, "there are no more field lines than the limit", fields)
        var byteCount = 0
        for (name, value) in fields {
            byteCount += name.utf8.count + value.utf8.count + ":\r\n".utf8.count
            require(isToken(name), "a field name is a token", fields)
            require(value.utf8.allSatisfy { $0 == 0x09 || $0 >= 0x20 && $0 != 0x7F }, "a value has no controls", fields)
            let ends = [value.utf8.first, value.utf8.last]
            require(!ends.contains(0x20) && !ends.contains(0x09), "a value has no whitespace around it", fields)
        }
        require(byteCount <= limits.headerBytesLimit, "a header section is within its limit", fields)
    }

    private static func checkHost(_ head: RequestHead) {
        let hosts = values(of: "host", head.fields)
        require(hosts.count == 1 || hosts.isEmpty && head.version == .http10, "there is one Host field", head)
        require(head.host == head.target.authority ?? hosts.first, "the host is the target's, else the field's", head)
        for host in hosts + [head.target.authority].compactMap(\.self) {
            let isHost = host.utf8.allSatisfy { byte in
                isAlphanumeric(byte) || "-._~:[]".utf8.contains(byte)
            }
            require(!host.isEmpty && isHost, "a host is a name or an address", head)
        }
    }

    /// RFC 9112 §6.3, without anything that two readers could see differently.
    private static func checkFraming(_ request: Request, _ limits: Limits) {
        let head = request.head
        let codings = values(of: "transfer-encoding", head.fields)
        let lengths = values(of: "content-length", head.fields)
        require(request.body.count <= limits.bodyBytesLimit, "a body is within its limit", request.body.count)
        if !codings.isEmpty {
            require(codings.map { $0.lowercased() } == ["chunked"], "chunked is the only coding", head)
            require(lengths.isEmpty, "there is no length beside a coding", head)
            require(head.version == .http11, "HTTP/1.0 has no codings", head)
            require(head.framing == .chunked, "a coding frames the body", head)
        } else if !lengths.isEmpty {
            require(lengths.count == 1, "there is one length", head)
            require(lengths[0].utf8.allSatisfy { (0x30...0x39).contains($0) }, "a length is made of digits", head)
            require(Int(lengths[0]) == request.body.count, "a body has its length", head)
            require(head.framing == .length(request.body.count), "a length frames the body", head)
        } else {
            require(head.framing == .none && request.body.isEmpty, "without length and coding there is no body", head)
        }
    }

    private static func values(of name: String, _ fields: Fields) -> [String] {
        fields.filter { $0.name.lowercased() == name }.map(\.value)
    }

    /// The members of a field that is a list, in lower case.
    private static func members(of name: String, _ fields: Fields) -> [String] {
        values(of: name, fields).flatMap { value in
            value.utf8.split(separator: UInt8(ascii: ",")).map { member in
                var bytes = member.drop { $0 == 0x20 || $0 == 0x09 }
                while let last = bytes.last, last == 0x20 || last == 0x09 { bytes.removeLast() }
                return String(decoding: bytes, as: UTF8.self).lowercased()
            }
        }.filter { !$0.isEmpty }
    }

    private static func isToken(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { isAlphanumeric($0) || "!#$%&'*+-.^_`|~".utf8.contains($0) }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
    }
}
