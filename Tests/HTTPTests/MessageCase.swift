import HTTP
import Testing

/// A whole input as it stands on the wire, and everything that comes out of it.
struct MessageCase: CustomTestStringConvertible {
    /// What is made of an input.
    struct Expectation: Equatable {
        /// Each request that comes out, as `describe` writes it.
        var requests: [String]
        /// What the rest is refused with.
        var status: Int?
        /// Whether the rest is the beginning of a request.
        var isWaiting = false

        /// These requests come out and nothing is left over.
        static func parsed(_ requests: String...) -> Expectation { Expectation(requests: requests) }

        /// After these requests the connection ends with this status.
        static func refused(_ status: Int, after requests: String...) -> Expectation {
            Expectation(requests: requests, status: status)
        }

        /// After these requests more bytes are needed.
        static func waiting(after requests: String...) -> Expectation {
            Expectation(requests: requests, isWaiting: true)
        }
    }

    let input: [UInt8]
    let limits: Limits
    let expectation: Expectation
    /// The paragraph that demands or allows it, and what is chosen where it leaves a choice.
    let rule: String

    var testDescription: String {
        "\(rule): \(String(decoding: input, as: UTF8.self).debugDescription)"
    }

    init(_ input: [UInt8], limits: Limits = Limits(), _ expectation: Expectation, _ rule: String) {
        self.input = input
        self.limits = limits
        self.expectation = expectation
        self.rule = rule
    }

    init(_ input: String, limits: Limits = Limits(), _ expectation: Expectation, _ rule: String) {
        self.init(Array(input.utf8), limits: limits, expectation, rule)
    }

    /// The lines of a head, joined by line ends, with the empty line after them, and what follows.
    static func head(
        _ lines: [String],
        body: String = "",
        limits: Limits = Limits(),
        _ expectation: Expectation,
        _ rule: String
    ) -> MessageCase {
        MessageCase((lines + ["", body]).joined(separator: "\r\n"), limits: limits, expectation, rule)
    }

    /// What of a request decides how it is served: method, path, host, version if it is HTTP/1.0, framing, what becomes
    /// of the connection, body.
    static func describe(_ request: Request) -> String {
        let head = request.head
        var words = [head.method.rawValue, head.target.path, head.host ?? "-"]
        if head.version == .http10 { words.append("HTTP/1.0") }
        switch head.framing {
        case .none: break
        case .length(let length): words.append("length(\(length))")
        case .chunked: words.append("chunked")
        }
        if head.expectsContinue { words.append("continue") }
        if !head.keepsConnection { words.append("close") }
        if !request.body.isEmpty { words.append("'\(String(decoding: request.body, as: UTF8.self))'") }
        return words.joined(separator: " ")
    }
}

extension Limits {
    /// The limits of the API but for one.
    static func with(_ limit: WritableKeyPath<Limits, Int>, _ value: Int) -> Limits {
        var limits = Limits()
        limits[keyPath: limit] = value
        return limits
    }
}
