import Testing

/// One input on which servers are known to differ, or could, and what this one makes of it.
struct StrictnessCase: CustomTestStringConvertible {
    enum Expectation: Equatable {
        case refused(Int)
        /// Requests with these bodies come out, and nothing is left over.
        case accepted([String])
    }

    let input: [UInt8]
    let expectation: Expectation
    /// The paragraph that demands or allows it.
    let rule: String

    var testDescription: String {
        "\(rule): \(String(decoding: input, as: UTF8.self).debugDescription)"
    }

    /// A whole input.
    init(_ input: String, _ expectation: Expectation, _ rule: String) {
        self.init(Array(input.utf8), expectation, rule)
    }

    init(_ input: [UInt8], _ expectation: Expectation, _ rule: String) {
        self.input = input
        self.expectation = expectation
        self.rule = rule
    }

    /// A request line, followed by a Host field and no body.
    static func line(_ line: String, _ expectation: Expectation, _ rule: String) -> StrictnessCase {
        StrictnessCase("\(line)\r\nHost: a\r\n\r\n", expectation, rule)
    }

    /// A request target of a GET.
    static func target(_ target: String, _ expectation: Expectation, _ rule: String) -> StrictnessCase {
        .line("GET \(target) HTTP/1.1", expectation, rule)
    }

    /// Field lines after a Host field, and what follows the header section.
    static func fields(
        _ fields: String,
        body: String = "",
        _ expectation: Expectation,
        _ rule: String
    ) -> StrictnessCase {
        StrictnessCase("POST / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n\r\n\(body)", expectation, rule)
    }

    /// The only Host field.
    static func host(_ value: String, _ expectation: Expectation, _ rule: String) -> StrictnessCase {
        StrictnessCase("GET / HTTP/1.1\r\nHost: \(value)\r\n\r\n", expectation, rule)
    }

    /// The content of a chunked request.
    static func chunks(_ content: String, _ expectation: Expectation, _ rule: String) -> StrictnessCase {
        .fields("Transfer-Encoding: chunked", body: content, expectation, rule)
    }

    static let none = Expectation.accepted([""])
}

let strictnessTable: [StrictnessCase] = lineCases + targetCases + hostCases + fieldCases + framingCases + chunkCases

private let lineCases: [StrictnessCase] = [
    .line("GET / HTTP/1.1", StrictnessCase.none, "RFC 9112 §3"),
    .line("get / HTTP/1.1", StrictnessCase.none, "RFC 9110 §9.1: case-sensitive, the server's to refuse"),
    .line("M-SEARCH / HTTP/1.1", StrictnessCase.none, "RFC 9110 §9.1"),
    .line("\r\nGET / HTTP/1.1", StrictnessCase.none, "RFC 9112 §2.2"),
    .line("\r\n\r\nGET / HTTP/1.1", StrictnessCase.none, "RFC 9112 §2.2"),
    .line("\r\n\r\n\r\nGET / HTTP/1.1", .refused(400), "RFC 9112 §2.2"),
    .line("\nGET / HTTP/1.1", .refused(400), "RFC 9112 §2.2"),
    .line("\rGET / HTTP/1.1", .refused(400), "RFC 9112 §2.2"),
    .line(" GET / HTTP/1.1", .refused(400), "RFC 9112 §3"),
    .line("GET  / HTTP/1.1", .refused(400), "RFC 9112 §3"),
    .line("GET /  HTTP/1.1", .refused(400), "RFC 9112 §3"),
    .line("GET / HTTP/1.1 ", .refused(400), "RFC 9112 §3"),
    .line("GET\t/ HTTP/1.1", .refused(400), "RFC 9112 §3"),
    .line("GET /\tHTTP/1.1", .refused(400), "RFC 9112 §3"),
    .line("GET /a b HTTP/1.1", .refused(400), "RFC 9112 §3.2"),
    .line("GET HTTP/1.1", .refused(400), "RFC 9112 §3"),
    .line("GET", .refused(400), "RFC 9112 §3"),
    .line("GET /", .refused(400), "RFC 9112 §3: HTTP/0.9"),
    .line("GET / HTTP/0.9", .refused(505), "RFC 9110 §15.6.6"),
    .line("GET / HTTP/2.0", .refused(505), "RFC 9110 §15.6.6"),
    .line("GET / HTTP/3.0", .refused(505), "RFC 9110 §15.6.6"),
    .line("GET / HTTP/1.2", StrictnessCase.none, "RFC 9110 §2.5"),
    .line("GET / HTTP/1.9", StrictnessCase.none, "RFC 9110 §2.5"),
    .line("GET / http/1.1", .refused(400), "RFC 9112 §2.3"),
    .line("GET / Http/1.1", .refused(400), "RFC 9112 §2.3"),
    .line("GET / HTTP/1", .refused(400), "RFC 9112 §2.3"),
    .line("GET / HTTP/1.", .refused(400), "RFC 9112 §2.3"),
    .line("GET / HTTP/1.10", .refused(400), "RFC 9112 §2.3"),
    .line("GET / HTTP/01.1", .refused(400), "RFC 9112 §2.3"),
    .line("GET / HTTP/+1.1", .refused(400), "RFC 9112 §2.3"),
    .line("GET / HTTP/1,1", .refused(400), "RFC 9112 §2.3"),
    .line("GET / HTTPS/1.1", .refused(400), "RFC 9112 §2.3"),
    .line("GET / ICY/1.1", .refused(400), "RFC 9112 §2.3"),
    .line("G(T / HTTP/1.1", .refused(400), "RFC 9110 §5.6.2"),
    .line("G\u{0}T / HTTP/1.1", .refused(400), "RFC 9110 §5.6.2"),
    .line("GÉT / HTTP/1.1", .refused(400), "RFC 9110 §5.6.2"),
    .line("\u{FEFF}GET / HTTP/1.1", .refused(400), "RFC 9110 §5.6.2"),
    .line("GET:/ HTTP/1.1", .refused(400), "RFC 9110 §5.6.2"),
    .line("CONNECT a:80 HTTP/1.1", .refused(501), "RFC 9110 §9.1"),
    .line("OPTIONS * HTTP/1.1", StrictnessCase.none, "RFC 9112 §3.2.4"),
    .line("GET * HTTP/1.1", .refused(400), "RFC 9112 §3.2.4"),
    .line("OPTIONS ** HTTP/1.1", .refused(400), "RFC 9112 §3.2.4"),
    StrictnessCase("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .refused(505), "RFC 9113 §3.4"),
    StrictnessCase([0x16, 0x03, 0x01, 0x02, 0x00, 0x01], .refused(400), "RFC 8446 §5.1: a TLS handshake"),
    StrictnessCase("GET / HTTP/1.1\nHost: a\n\n", .refused(400), "RFC 9112 §2.2"),
    StrictnessCase("GET / HTTP/1.1\rHost: a\r\r", .refused(400), "RFC 9112 §2.2"),
    StrictnessCase("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", .refused(400), "RFC 9112 §2.2"),
    StrictnessCase("GET / HTTP/1.1\r\n\r\n", .refused(400), "RFC 9112 §3.2"),
    StrictnessCase("GET / HTTP/1.1\r\n Host: a\r\n\r\n", .refused(400), "RFC 9112 §2.2"),
    StrictnessCase("GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", .refused(400), "RFC 9112 §2.2"),
]

private let targetCases: [StrictnessCase] = [
    .target("/v1/services?status=failed,running&x=%20+y", StrictnessCase.none, "RFC 3986 §3.4"),
    .target("/a/", StrictnessCase.none, "RFC 3986 §3.3"),
    .target("/a;b=c/@:!$&'()*+,=-._~", StrictnessCase.none, "RFC 3986 §3.3"),
    .target("/?", StrictnessCase.none, "RFC 3986 §3.4"),
    .target("/?a?b/c", StrictnessCase.none, "RFC 3986 §3.4"),
    .target("/caf%C3%A9", StrictnessCase.none, "RFC 3986 §2.5"),
    .target("http://b/v1", StrictnessCase.none, "RFC 9112 §3.2.2"),
    .target("HTTP://b:80/v1?x", StrictnessCase.none, "RFC 9110 §4.2.3"),
    .target("http://b", StrictnessCase.none, "RFC 9110 §4.2.3"),
    .target("http://b?x=y", StrictnessCase.none, "RFC 9110 §4.2.3"),
    .target("https://b/", .refused(421), "RFC 9110 §7.4"),
    .target("ftp://b/", .refused(400), "RFC 9112 §3.2.2"),
    .target("http:///v1", .refused(400), "RFC 9110 §4.2.1"),
    .target("http://", .refused(400), "RFC 9110 §4.2.1"),
    .target("http://user@b/", .refused(400), "RFC 9110 §4.2.4"),
    .target("http://b:x/", .refused(400), "RFC 3986 §3.2.3"),
    .target("http:/b/", .refused(400), "RFC 9112 §3.2.2"),
    .target("a:80", .refused(400), "RFC 9112 §3.2.3"),
    .target("v1", .refused(400), "RFC 9112 §3.2.1"),
    .target("?x", .refused(400), "RFC 9112 §3.2.1"),
    .target("/a#b", .refused(400), "RFC 9112 §3.2.1"),
    .target("/?a#b", .refused(400), "RFC 9112 §3.2.1"),
    .target("//a", .refused(400), "RFC 3986 §3.3"),
    .target("/a//b", .refused(400), "RFC 3986 §3.3"),
    .target("/a//", .refused(400), "RFC 3986 §3.3"),
    .target("//", .refused(400), "RFC 3986 §3.3"),
    .target("/.", .refused(400), "RFC 3986 §6.2.2.3"),
    .target("/./a", .refused(400), "RFC 3986 §6.2.2.3"),
    .target("/a/..", .refused(400), "RFC 3986 §6.2.2.3"),
    .target("/a/../b", .refused(400), "RFC 3986 §6.2.2.3"),
    .target("/a/%2e%2E/b", .refused(400), "RFC 3986 §6.2.2.3"),
    .target("/a/.%2e/b", .refused(400), "RFC 3986 §6.2.2.3"),
    .target("/a/%2e", .refused(400), "RFC 3986 §6.2.2.3"),
    .target("/a/...", StrictnessCase.none, "RFC 3986 §3.3"),
    .target("/a%2Fb", .refused(400), "RFC 3986 §2.2"),
    .target("/a%2fb", .refused(400), "RFC 3986 §2.2"),
    .target("/a%00b", .refused(400), "RFC 3986 §7.3"),
    .target("/a%0Ab", .refused(400), "RFC 3986 §7.3"),
    .target("/a%7F", .refused(400), "RFC 3986 §7.3"),
    .target("/a%C2%85", .refused(400), "RFC 3986 §7.3"),
    .target("/a%", .refused(400), "RFC 3986 §2.1"),
    .target("/a%4", .refused(400), "RFC 3986 §2.1"),
    .target("/a%4/b", .refused(400), "RFC 3986 §2.1"),
    .target("/a%zz", .refused(400), "RFC 3986 §2.1"),
    .target("/a%u0041", .refused(400), "RFC 3986 §2.1"),
    .target("/a%FF", .refused(400), "RFC 3986 §2.5"),
    .target("/a%C0%AF", .refused(400), "RFC 3629 §3"),
    .target("/a%ED%A0%80", .refused(400), "RFC 3629 §3"),
    .target("/a\\b", .refused(400), "RFC 3986 §3.3"),
    .target("/a\"b", .refused(400), "RFC 3986 §3.3"),
    .target("/a<b>", .refused(400), "RFC 3986 §3.3"),
    .target("/{ref}", .refused(400), "RFC 3986 §3.3"),
    .target("/a|b", .refused(400), "RFC 3986 §3.3"),
    .target("/[a]", .refused(400), "RFC 3986 §3.3"),
    .target("/café", .refused(400), "RFC 3986 §2.1"),
    .target("/a\u{0}b", .refused(400), "RFC 9112 §3.2"),
    .target("/a\u{7F}b", .refused(400), "RFC 9112 §3.2"),
    .target("/?a=%00", .refused(400), "RFC 3986 §7.3"),
    .target("/?a=%", .refused(400), "RFC 3986 §2.1"),
    .target("/?a=%F", .refused(400), "RFC 3986 §2.1"),
    .target("/?a=%FF", .refused(400), "RFC 3986 §2.5"),
    .target("/?a=[b]", .refused(400), "RFC 3986 §3.4"),
    .target("/?a=\"b\"", .refused(400), "RFC 3986 §3.4"),
]

private let hostCases: [StrictnessCase] = [
    .host("localhost", StrictnessCase.none, "RFC 9110 §7.2"),
    .host("a.example:2088", StrictnessCase.none, "RFC 9110 §7.2"),
    .host("127.0.0.1:2088", StrictnessCase.none, "RFC 9110 §7.2"),
    .host("[::1]:2088", StrictnessCase.none, "RFC 3986 §3.2.2"),
    .host("[::]", StrictnessCase.none, "RFC 3986 §3.2.2"),
    .host("[1:2:3:4:5:6:7:8]", StrictnessCase.none, "RFC 3986 §3.2.2"),
    .host("[1::8]", StrictnessCase.none, "RFC 3986 §3.2.2"),
    .host("[1::]", StrictnessCase.none, "RFC 3986 §3.2.2"),
    .host("[::ffff:127.0.0.1]", StrictnessCase.none, "RFC 3986 §3.2.2"),
    .host("[1:2:3:4:5:6:127.0.0.1]", StrictnessCase.none, "RFC 3986 §3.2.2"),
    .host("a:", StrictnessCase.none, "RFC 3986 §3.2.3"),
    .host("  a  ", StrictnessCase.none, "RFC 9112 §5.1"),
    .host("", .refused(400), "RFC 9110 §4.2.1"),
    .host(":80", .refused(400), "RFC 9110 §4.2.1"),
    .host("a b", .refused(400), "RFC 9112 §3.2"),
    .host("a,b", .refused(400), "RFC 9112 §3.2"),
    .host("a/b", .refused(400), "RFC 9112 §3.2"),
    .host("user@a", .refused(400), "RFC 9112 §3.2"),
    .host("http://a", .refused(400), "RFC 9112 §3.2"),
    .host("a?b", .refused(400), "RFC 9112 §3.2"),
    .host("a%41", .refused(400), "RFC 9112 §3.2"),
    .host("café", .refused(400), "RFC 9112 §3.2"),
    .host("a:65536", .refused(400), "RFC 9112 §3.2"),
    .host("a:123456", .refused(400), "RFC 9112 §3.2"),
    .host("a:-1", .refused(400), "RFC 3986 §3.2.3"),
    .host("a:80:80", .refused(400), "RFC 3986 §3.2.3"),
    .host("::1", .refused(400), "RFC 3986 §3.2.2"),
    .host("[::1", .refused(400), "RFC 3986 §3.2.2"),
    .host("[]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[:]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[:1]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[1:]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[:::]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[1::2::3]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[::1::]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[1:2:3:4:5:6:7]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[1:2:3:4:5:6:7:8:9]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[1:2:3:4::5:6:7:8]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[12345::]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[g::]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[::1.2.3]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[::256.1.1.1]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[::01.1.1.1]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[1.2.3.4::]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[fe80::1%25eth0]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[v1.a]", .refused(400), "RFC 3986 §3.2.2"),
    .host("[::1]a", .refused(400), "RFC 3986 §3.2.2"),
    .fields("Host: a", .refused(400), "RFC 9112 §3.2"),
    .fields("host: b", .refused(400), "RFC 9112 §3.2"),
    StrictnessCase("GET / HTTP/1.0\r\n\r\n", StrictnessCase.none, "RFC 9112 §3.2"),
    StrictnessCase("GET / HTTP/1.0\r\nHost: a b\r\n\r\n", .refused(400), "RFC 9112 §3.2"),
    StrictnessCase("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", .refused(400), "RFC 9112 §3.2"),
    StrictnessCase("GET http://b/ HTTP/1.1\r\n\r\n", .refused(400), "RFC 9112 §3.2.2"),
]

private let fieldCases: [StrictnessCase] = [
    .fields("A:b", StrictnessCase.none, "RFC 9112 §5"),
    .fields("A:", StrictnessCase.none, "RFC 9110 §5.5"),
    .fields("A: \t b \t ", StrictnessCase.none, "RFC 9112 §5.1"),
    .fields("A: b\tc", StrictnessCase.none, "RFC 9110 §5.5"),
    .fields("A: caf\u{E9}", StrictnessCase.none, "RFC 9110 §5.5: obs-text that is UTF-8"),
    .fields("A: b:c", StrictnessCase.none, "RFC 9112 §5"),
    .fields("!#$%&'*+-.^_`|~0aZ: b", StrictnessCase.none, "RFC 9110 §5.6.2"),
    .fields("Upgrade: h2c\r\nConnection: Upgrade", StrictnessCase.none, "RFC 9110 §7.8: may be ignored"),
    .fields("A : b", .refused(400), "RFC 9112 §5.1"),
    .fields("A\t: b", .refused(400), "RFC 9112 §5.1"),
    .fields("A B: c", .refused(400), "RFC 9110 §5.1"),
    .fields(": b", .refused(400), "RFC 9110 §5.1"),
    .fields(":", .refused(400), "RFC 9110 §5.1"),
    .fields("A", .refused(400), "RFC 9112 §5"),
    .fields("A: b\r\n c", .refused(400), "RFC 9112 §5.2"),
    .fields("A: b\r\n\tc", .refused(400), "RFC 9112 §5.2"),
    .fields("A: b\r\n ", .refused(400), "RFC 9112 §5.2"),
    .fields("A: b\nC: d", .refused(400), "RFC 9112 §2.2"),
    .fields("A: b\rC: d", .refused(400), "RFC 9112 §2.2"),
    .fields("A: b\r", .refused(400), "RFC 9112 §2.2"),
    .fields("A: b\n", .refused(400), "RFC 9112 §2.2"),
    .fields("A: \u{0}", .refused(400), "RFC 9110 §5.5"),
    .fields("A: b\u{1}", .refused(400), "RFC 9110 §5.5"),
    .fields("A: \u{B}b", .refused(400), "RFC 9110 §5.5"),
    .fields("A: b\u{1B}[31m", .refused(400), "RFC 9110 §5.5"),
    .fields("A: b\u{7F}", .refused(400), "RFC 9110 §5.5"),
    .fields("A\u{0}: b", .refused(400), "RFC 9110 §5.1"),
    .fields("É: b", .refused(400), "RFC 9110 §5.1"),
    .fields("A(b): c", .refused(400), "RFC 9110 §5.1"),
    .fields("A;b: c", .refused(400), "RFC 9110 §5.1"),
    .fields("\"A\": c", .refused(400), "RFC 9110 §5.1"),
    StrictnessCase(
        Array("GET / HTTP/1.1\r\nHost: a\r\nA: ".utf8) + [0xFF] + Array("\r\n\r\n".utf8),
        .refused(400),
        "RFC 9110 §5.5: obs-text that is not UTF-8"
    ),
    StrictnessCase(
        Array("GET / HTTP/1.1\r\nHost: a\r\nA: ".utf8) + [0xC0, 0x8A] + Array("\r\n\r\n".utf8),
        .refused(400),
        "RFC 3629 §3"
    ),
    .fields("Expect: 100-continue\r\nContent-Length: 2", body: "hi", .accepted(["hi"]), "RFC 9110 §10.1.1"),
    .fields("Expect: 100-Continue", StrictnessCase.none, "RFC 9110 §10.1.1"),
    .fields("Expect: 200-ok", .refused(417), "RFC 9110 §10.1.1"),
    .fields("Expect: 100-continue, x", .refused(417), "RFC 9110 §10.1.1"),
    .fields("Expect: 100-continue, \u{301}100-continue", .refused(417), "RFC 9110 §10.1.1"),
    .fields("Expect:", StrictnessCase.none, "RFC 9110 §5.6.1.2: a list of nothing"),
    StrictnessCase("GET / HTTP/1.0\r\nExpect: x\r\n\r\n", StrictnessCase.none, "RFC 9110 §10.1.1"),
]

private let framingCases: [StrictnessCase] = [
    .fields("Content-Length: 5", body: "hello", .accepted(["hello"]), "RFC 9112 §6.3"),
    .fields("Content-Length: 0", StrictnessCase.none, "RFC 9112 §6.3"),
    .fields("Content-Length: 05", body: "hello", .accepted(["hello"]), "RFC 9110 §8.6"),
    .fields("content-length:5", body: "hello", .accepted(["hello"]), "RFC 9110 §5.1"),
    .fields("Content-Length: 1048577", .refused(413), "RFC 9110 §15.5.14"),
    .fields("Content-Length: 9223372036854775807", .refused(413), "RFC 9110 §15.5.14"),
    .fields("Content-Length: 9223372036854775808", .refused(400), "RFC 9110 §8.6"),
    .fields("Content-Length: 18446744073709551621", body: "hello", .refused(400), "RFC 9110 §8.6"),
    .fields("Content-Length: 5\r\nContent-Length: 5", body: "hello", .refused(400), "RFC 9112 §6.3"),
    .fields("Content-Length: 5\r\nContent-Length: 6", body: "hello", .refused(400), "RFC 9112 §6.3"),
    .fields("Content-Length: 5\r\ncontent-length: 0", body: "hello", .refused(400), "RFC 9112 §6.3"),
    .fields("Content-Length: 5, 5", body: "hello", .refused(400), "RFC 9112 §6.3"),
    .fields("Content-Length: 5,6", body: "hello", .refused(400), "RFC 9112 §6.3"),
    .fields("Content-Length: 5,", body: "hello", .refused(400), "RFC 9112 §6.3"),
    .fields("Content-Length: 5 5", body: "hello", .refused(400), "RFC 9110 §8.6"),
    .fields("Content-Length: +5", body: "hello", .refused(400), "RFC 9110 §8.6"),
    .fields("Content-Length: -5", body: "hello", .refused(400), "RFC 9110 §8.6"),
    .fields("Content-Length: 5.0", body: "hello", .refused(400), "RFC 9110 §8.6"),
    .fields("Content-Length: 5e0", body: "hello", .refused(400), "RFC 9110 §8.6"),
    .fields("Content-Length: 0x5", body: "hello", .refused(400), "RFC 9110 §8.6"),
    .fields("Content-Length: 5_0", body: "hello", .refused(400), "RFC 9110 §8.6"),
    .fields("Content-Length: \"5\"", body: "hello", .refused(400), "RFC 9110 §8.6"),
    .fields("Content-Length: ٥", body: "hello", .refused(400), "RFC 9110 §8.6"),
    .fields("Content-Length:", body: "hello", .refused(400), "RFC 9110 §8.6"),
    .fields("Content-Length : 5", body: "hello", .refused(400), "RFC 9112 §5.1"),
    .fields("Content-Length: 5\r\n 6", body: "hello", .refused(400), "RFC 9112 §5.2"),
    .fields("Content-Length: 5\u{B}", body: "hello", .refused(400), "RFC 9110 §5.5"),
    .fields("Content-Length: 5\r\nTransfer-Encoding: chunked", body: "0\r\n\r\n", .refused(400), "RFC 9112 §6.3"),
    .fields("Transfer-Encoding: chunked\r\nContent-Length: 5", body: "0\r\n\r\n", .refused(400), "RFC 9112 §6.3"),
    .fields("Transfer-Encoding: x\r\nContent-Length: 5", body: "hello", .refused(400), "RFC 9112 §6.3"),
    .fields("Transfer-Encoding: CHUNKED", body: "0\r\n\r\n", StrictnessCase.none, "RFC 9112 §7"),
    .fields("Transfer-Encoding: \t chunked \t", body: "0\r\n\r\n", StrictnessCase.none, "RFC 9112 §5.1"),
    .fields("Transfer-Encoding: gzip", .refused(400), "RFC 9112 §6.3"),
    .fields("Transfer-Encoding: identity", .refused(400), "RFC 9112 §6.3"),
    .fields("Transfer-Encoding: xchunked", .refused(400), "RFC 9112 §6.3"),
    .fields("Transfer-Encoding: chunkedx", .refused(400), "RFC 9112 §6.3"),
    .fields("Transfer-Encoding: gzip, chunked", body: "0\r\n\r\n", .refused(501), "RFC 9112 §6.1"),
    .fields("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", .refused(501), "RFC 9112 §6.1"),
    .fields("Transfer-Encoding: chunked, gzip", .refused(400), "RFC 9112 §6.3"),
    .fields("Transfer-Encoding: chunked, identity", .refused(400), "RFC 9112 §6.3"),
    .fields("Transfer-Encoding: chunked, chunked", .refused(400), "RFC 9112 §6.1"),
    .fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", .refused(400), "RFC 9112 §6.1"),
    .fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", .refused(400), "RFC 9112 §6.3"),
    .fields("Transfer-Encoding: chunked,", .refused(400), "RFC 9112 §6.1"),
    .fields("Transfer-Encoding: ,chunked", .refused(400), "RFC 9112 §6.1"),
    .fields("Transfer-Encoding:", .refused(400), "RFC 9112 §6.1"),
    .fields("Transfer-Encoding: chunked;q=1", .refused(400), "RFC 9112 §7.1"),
    .fields("Transfer-Encoding: \"chunked\"", .refused(400), "RFC 9112 §6.1"),
    .fields("Transfer-Encoding: chun ked", .refused(400), "RFC 9112 §6.1"),
    .fields("Transfer-Encoding : chunked", .refused(400), "RFC 9112 §5.1"),
    .fields("Transfer-Encoding:\r\n chunked", .refused(400), "RFC 9112 §5.2"),
    .fields("Transfer-Encoding: \u{B}chunked", .refused(400), "RFC 9110 §5.5"),
    .fields("Transfer-Encoding: chunked\u{0}", .refused(400), "RFC 9110 §5.5"),
    .fields("Transfer-Encoding: chunked\u{A0}", .refused(400), "RFC 9112 §6.1"),
    StrictnessCase(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        .refused(400),
        "RFC 9112 §6.1"
    ),
    StrictnessCase(
        "POST / HTTP/1.0\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        .refused(400),
        "RFC 9112 §6.1"
    ),
    StrictnessCase("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", .accepted(["hi"]), "RFC 9112 §6.3"),
    StrictnessCase(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        .accepted(["hi", ""]),
        "RFC 9112 §9.3.2"
    ),
    StrictnessCase(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        .accepted(["hi", ""]),
        "RFC 9112 §2.2"
    ),
    StrictnessCase(
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nhello",
        .accepted([""]),
        "RFC 9112 §6.3: what follows is a request"
    ),
]

private let chunkCases: [StrictnessCase] = [
    .chunks("0\r\n\r\n", StrictnessCase.none, "RFC 9112 §7.1"),
    .chunks("5\r\nhello\r\n0\r\n\r\n", .accepted(["hello"]), "RFC 9112 §7.1"),
    .chunks("1\r\na\r\n2\r\nbc\r\n000\r\n\r\n", .accepted(["abc"]), "RFC 9112 §7.1"),
    .chunks("a\r\n0123456789\r\n0\r\n\r\n", .accepted(["0123456789"]), "RFC 9112 §7.1"),
    .chunks("A\r\n0123456789\r\n0\r\n\r\n", .accepted(["0123456789"]), "RFC 9112 §7.1"),
    .chunks("0000000000000005\r\nhello\r\n0\r\n\r\n", .accepted(["hello"]), "RFC 9112 §7.1"),
    .chunks("2\r\n\r\n\r\n0\r\n\r\n", .accepted(["\r\n"]), "RFC 9112 §7.1"),
    .chunks("5;a\r\nhello\r\n0;b=c;d=\"e;\\\"\t f\"\r\n\r\n", .accepted(["hello"]), "RFC 9112 §7.1.1"),
    .chunks("0\r\nA: b\r\n\r\n", StrictnessCase.none, "RFC 9112 §7.1.2"),
    .chunks("0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", .accepted(["", ""]), "RFC 9112 §7.1"),
    .chunks("\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("g\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("+5\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("-5\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("-0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("0x5\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("5_0\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks(" 5\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("5 \r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("5\t\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("5 ;a\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1.1"),
    .chunks("5; a\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1.1"),
    .chunks("5;\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1.1"),
    .chunks("5;a=\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1.1"),
    .chunks("5;=a\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1.1"),
    .chunks("5;a=\"b\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1.1"),
    .chunks("5;a=\"b\\\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1.1"),
    .chunks("5;a=\"b\"c\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1.1"),
    .chunks("5;a\u{0}\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1.1"),
    .chunks("5;a\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §2.2"),
    .chunks("5;a=\"\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n", .refused(400), "RFC 9112 §7.1.1"),
    .chunks("5,6\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("5\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §2.2"),
    .chunks("5\rhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §2.2"),
    .chunks("5\r\nhello0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("5\r\nhello\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("5\r\nhello\r0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("5\r\nhello\rX0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("5\r\nhelloX\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("5\r\nhello!\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("5\r\nhell\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("100001\r\n", .refused(413), "RFC 9110 §15.5.14"),
    .chunks("7fffffffffffffff\r\n", .refused(413), "RFC 9112 §7.1"),
    .chunks("8000000000000000\r\n", .refused(413), "RFC 9112 §7.1"),
    .chunks("ffffffffffffffff\r\n", .refused(413), "RFC 9112 §7.1"),
    .chunks("10000000000000005\r\nhello\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("00000000000000000\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    .chunks("0\r\n\n", .refused(400), "RFC 9112 §2.2"),
    .chunks("0\r\n\rX", .refused(400), "RFC 9112 §2.2"),
    .chunks("0\r\nA : b\r\n\r\n", .refused(400), "RFC 9112 §5.1"),
    .chunks("0\r\n A: b\r\n\r\n", .refused(400), "RFC 9112 §5.2"),
    .chunks("0\r\nA: b\r\n c\r\n\r\n", .refused(400), "RFC 9112 §5.2"),
    .chunks("0\r\nA\r\n\r\n", .refused(400), "RFC 9112 §7.1.2"),
    .chunks("0\r\nA: \u{0}\r\n\r\n", .refused(400), "RFC 9110 §5.5"),
    .chunks("0\r\nContent-Length: 5\r\n\r\n", .refused(400), "RFC 9110 §6.5.1"),
    .chunks("0\r\ntransfer-encoding: chunked\r\n\r\n", .refused(400), "RFC 9110 §6.5.1"),
    .chunks("0\r\nHost: a\r\n\r\n", .refused(400), "RFC 9110 §6.5.1"),
    .chunks("0\r\nAuthorization: x\r\n\r\n", .refused(400), "RFC 9110 §6.5.1"),
    .chunks("0\r\nGET / HTTP/1.1\r\n\r\n", .refused(400), "RFC 9112 §7.1.2: a request is not a trailer"),
]
