internal import HTTP
internal import Services

/// Safe repetition of requests: `Idempotency-Key` on POST.
enum Idempotency {
    static let field = "Idempotency-Key"

    /// The key of a request; nil for none. Throws a 400 for an invalid key.
    static func key(of head: RequestHead) throws(Failure) -> String? {
        guard head.method == .post, let key = head.fields[field] else { return nil }
        guard (1...KeptAnswer.keyBytesLimit).contains(key.utf8.count),
            key.utf8.allSatisfy({ (0x21...0x7e).contains($0) })
        else {
            throw .badRequest("\(field) must be 1 to \(KeptAnswer.keyBytesLimit) printable characters without blanks")
        }
        return key
    }

    /// Identifies a request by its target and body. Not a cryptographic hash (64-bit FNV-1a): a client that knows the
    /// key gains nothing by a collision, as it may send any other request.
    static func fingerprint(of request: Request) -> String {
        let bytes = Array(request.head.target.raw.utf8) + [0] + request.body
        let hash = FNV1a.hash(bytes)
        return "\(bytes.count)-\(String(hash, radix: 16))"
    }
}

extension KeptAnswer {
    init(_ answer: Answer) {
        self.init(
            status: answer.response.status.code,
            location: answer.response.fields["Location"],
            body: answer.response.body,
            service: answer.service
        )
    }
}

extension Answer {
    init(_ kept: KeptAnswer) {
        response = Response(
            status: StatusCode(code: kept.status),
            contentType: "application/json",
            body: kept.body
        )
        if let location = kept.location { response.fields.append("Location", location) }
        if let seconds = Failure.retryAfterSeconds(response.status) { response.fields.append("Retry-After", seconds) }
        service = kept.service
    }
}
