import HTTP

/// Whole messages; `strictnessTable` has the single elements of which they are made.
let messageTable: [MessageCase] =
    lengthCases + codingCases + chunkedCases + lineEndCases + fieldLineCases + formCases + pathCases + hostFieldCases
    + versionCases + connectionCases + expectationCases + pipelineCases + limitCases

private let chunked = "Transfer-Encoding: chunked"

private let lengthCases: [MessageCase] = [
    .head(
        ["GET / HTTP/1.1", "Host: a", "Content-Length: 2"],
        body: "hi",
        .parsed("GET / a length(2) 'hi'"),
        "RFC 9110 §9.3.1: content of a GET has no meaning, and is framed all the same"
    ),
    .head(["HEAD / HTTP/1.1", "Host: a", "Content-Length: 0"], .parsed("HEAD / a length(0)"), "RFC 9112 §6.2"),
    .head(["DELETE /x HTTP/1.1", "Host: a"], .parsed("DELETE /x a"), "RFC 9112 §6.3: neither field, no body"),
    .head(
        ["PUT /x HTTP/1.1", "Content-Length: 1", "Host: a"],
        body: "1",
        .parsed("PUT /x a length(1) '1'"),
        "RFC 9110 §5.3: the order of different fields is free"
    ),
    .head(
        ["POST / HTTP/1.1", "Host: a", "CONTENT-LENGTH: 1"],
        body: "\0",
        .parsed("POST / a length(1) '\0'"),
        "RFC 9110 §6.4: content is any octets"
    ),
    .head(
        ["POST / HTTP/1.1", "Host: a", "Content-Length: 4"],
        body: "\r\n\r\n",
        .parsed("POST / a length(4) '\r\n\r\n'"),
        "RFC 9112 §6.3: line ends within the length are content"
    ),
    .head(
        ["POST / HTTP/1.1", "Host: a", "Content-Length:\t2 "],
        body: "ab",
        .parsed("POST / a length(2) 'ab'"),
        "RFC 9112 §5: whitespace around a value is not part of it"
    ),
    .head(
        ["POST / HTTP/1.1", "Host: a", "Content-Length: 00000000000000000000000000000002"],
        body: "ab",
        .parsed("POST / a length(2) 'ab'"),
        "RFC 9110 §8.6: 1*DIGIT"
    ),
    .head(["POST / HTTP/1.1", "Host: a", "Content-Length: 2"], .waiting(), "RFC 9112 §8: not complete yet"),
    .head(["POST / HTTP/1.1", "Host: a", "Content-Length: 2"], body: "a", .waiting(), "RFC 9112 §8: not complete yet"),
    .head(
        ["PUT / HTTP/1.1", "Content-Length: 2", "Host: a", "Content-Length: 2"],
        body: "ab",
        .refused(400),
        "RFC 9112 §6.3: equal lengths may be refused, and are"
    ),
    .head(
        ["PUT / HTTP/1.1", "Content-Length: 2", "Host: a", "Content-Length: 02"],
        body: "ab",
        .refused(400),
        "RFC 9112 §6.3: lengths that differ in their digits"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Content-Length: 2", "Content-Length:"],
        body: "ab",
        .refused(400),
        "RFC 9112 §6.3"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Content-Length: 2, 2"],
        body: "ab",
        .refused(400),
        "RFC 9110 §8.6: a list of equal lengths may be refused, and is"
    ),
    .head(["PUT / HTTP/1.1", "Host: a", "Content-Length: ,2"], body: "ab", .refused(400), "RFC 9110 §8.6: not a list"),
    .head(["PUT / HTTP/1.1", "Host: a", "Content-Length: 2;x"], body: "ab", .refused(400), "RFC 9110 §8.6"),
    .head(["PUT / HTTP/1.1", "Host: a", "Content-Length: 2a"], body: "ab", .refused(400), "RFC 9110 §8.6"),
    .head(["PUT / HTTP/1.1", "Host: a", "Content-Length: 0b10"], body: "ab", .refused(400), "RFC 9110 §8.6"),
    .head(["PUT / HTTP/1.1", "Host: a", "Content-Length: -0"], .refused(400), "RFC 9110 §8.6"),
    .head(["PUT / HTTP/1.1", "Host: a", "Content-Length: NaN"], .refused(400), "RFC 9110 §8.6"),
    .head(["PUT / HTTP/1.1", "Host: a", "Content-Length: 2\u{A0}"], body: "ab", .refused(400), "RFC 9110 §8.6"),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Content-Length: 99999999999999999999999999999999"],
        .refused(400),
        "RFC 9110 §8.6: no overflow"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Content_Length: 2"],
        body: "GET",
        .waiting(after: "PUT / a"),
        "RFC 9110 §5.1: another name, so no body"
    ),
]

private let codingCases: [MessageCase] = [
    .head(
        ["GET / HTTP/1.1", "Host: a", chunked],
        body: "2\r\nhi\r\n0\r\n\r\n",
        .parsed("GET / a chunked 'hi'"),
        "RFC 9112 §6.3"
    ),
    .head(
        ["GET / HTTP/1.1", "Host: a", "Content-Length: 2", chunked],
        body: "0\r\n\r\n",
        .refused(400),
        "RFC 9112 §6.1: both may be refused, and are"
    ),
    .head(
        ["PUT / HTTP/1.1", chunked, "Host: a", "content-length: 0"],
        body: "0\r\n\r\n",
        .refused(400),
        "RFC 9112 §6.1"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Content-Length: x", chunked],
        body: "0\r\n\r\n",
        .refused(400),
        "RFC 9112 §6.3"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Content-Length: 6", chunked],
        body: "0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
        .refused(400),
        "RFC 9112 §11.2: CL.TE"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Content-Length: 2", "Transfer-Encoding: identity"],
        body: "hi",
        .refused(400),
        "RFC 9112 §6.3"
    ),
    .head(["PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: deflate"], .refused(400), "RFC 9112 §6.3"),
    .head(["PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip, deflate"], .refused(400), "RFC 9112 §6.3"),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: deflate, chunked"],
        body: "0\r\n\r\n",
        .refused(501),
        "RFC 9112 §6.1"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: identity, chunked"],
        body: "0\r\n\r\n",
        .refused(501),
        "RFC 9112 §7: identity is no coding any more"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: x-gzip,\tChunked"],
        body: "0\r\n\r\n",
        .refused(501),
        "RFC 9112 §6.1"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip;q=1, chunked"],
        body: "0\r\n\r\n",
        .refused(400),
        "RFC 9112 §7: parameters are not parsed"
    ),
    .head(["PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip, chunked, chunked"], .refused(400), "RFC 9112 §6.1"),
    .head(["PUT / HTTP/1.1", "Host: a", chunked, "Transfer-Encoding: gzip"], .refused(400), "RFC 9112 §6.3"),
    .head(
        ["PUT / HTTP/1.1", "Host: a", chunked, "transfer-encoding:"],
        .refused(400),
        "RFC 9110 §15.5.1: an empty member would be ignored; no client sends it"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked, "],
        .refused(400),
        "RFC 9110 §15.5.1: an empty member would be ignored; no client sends it"
    ),
    .head(["PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked chunked"], .refused(400), "RFC 9112 §6.1"),
    .head(["PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: 'chunked'"], .refused(400), "RFC 9112 §6.3"),
    .head(["PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked\u{C}"], .refused(400), "RFC 9110 §5.5"),
    .head(["PUT / HTTP/1.1", "Host: a", " Transfer-Encoding: chunked"], .refused(400), "RFC 9112 §5.2"),
    .head(["PUT / HTTP/1.1", "Host: a", "Transfer-Encoding\u{B}: chunked"], .refused(400), "RFC 9110 §5.1"),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Transfer_Encoding: chunked"],
        body: "0",
        .waiting(after: "PUT / a"),
        "RFC 9110 §5.1: another name, so no body"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "X: y\u{2028}Transfer-Encoding: chunked"],
        .parsed("PUT / a"),
        "RFC 9112 §2.2: no other line end than CRLF"
    ),
    .head(["PUT / HTTP/1.1", "Host: a", "TE: gzip"], .parsed("PUT / a"), "RFC 9110 §10.1.4: may be ignored"),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Content-Encoding: gzip", "Content-Length: 1"],
        body: "x",
        .parsed("PUT / a length(1) 'x'"),
        "RFC 9110 §8.4: says nothing about the framing"
    ),
]

private let chunkedCases: [MessageCase] = [
    chunks(
        "3\r\nabc\r\n2;x=y\r\nde\r\n0;last\r\nEtag: z\r\n\r\n",
        .parsed("PUT / a chunked 'abcde'"),
        "RFC 9112 §7.1.3"
    ),
    chunks("1;a;b=\"\";c=\"\\\\\"\r\nx\r\n0\r\n\r\n", .parsed("PUT / a chunked 'x'"), "RFC 9112 §7.1.1"),
    chunks("1;a=\";,\"\r\nx\r\n0\r\n\r\n", .parsed("PUT / a chunked 'x'"), "RFC 9112 §7.1.1"),
    chunks("01\r\nx\r\n00\r\n\r\n", .parsed("PUT / a chunked 'x'"), "RFC 9112 §7.1"),
    chunks("5\r\n0\r\n\r\n\r\n0\r\n\r\n", .parsed("PUT / a chunked '0\r\n\r\n'"), "RFC 9112 §7.1: data is opaque"),
    chunks("0\r\nA: b\r\nA: c\r\n\r\n", .parsed("PUT / a chunked"), "RFC 9110 §6.5.1: trailers may be dropped"),
    chunks("0\r\nA:\r\n\r\n", .parsed("PUT / a chunked"), "RFC 9112 §7.1.2"),
    chunks("", .waiting(), "RFC 9112 §8: not complete yet"),
    chunks("1", .waiting(), "RFC 9112 §8: not complete yet"),
    chunks("1\r\nx", .waiting(), "RFC 9112 §8: not complete yet"),
    chunks("1\r\nx\r\n0\r\n", .waiting(), "RFC 9112 §8: without the last empty line"),
    chunks("0\r\n\r", .waiting(), "RFC 9112 §8: not complete yet"),
    chunks("0\r\nA: b\r\n", .waiting(), "RFC 9112 §8: not complete yet"),
    chunks("x\r\n", .refused(400), "RFC 9112 §7.1"),
    chunks(";a\r\n", .refused(400), "RFC 9112 §7.1: no size"),
    chunks("0X1\r\nx\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    chunks("1h\r\nx\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    chunks("1.0\r\nx\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    chunks("-1\r\nx\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    chunks("\"1\"\r\nx\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    chunks("１\r\nx\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1: a digit, but none of ASCII"),
    chunks("fffffffffffffffff\r\n", .refused(400), "RFC 9112 §7.1: no overflow"),
    chunks("100000000\r\n", .refused(413), "RFC 9110 §15.5.14"),
    chunks("1\r\nx\r\n100000\r\n", .refused(413), "RFC 9110 §15.5.14: the chunks together"),
    chunks("1\t;a\r\nx\r\n0\r\n\r\n", .refused(400), "RFC 9110 §15.5.1: bad whitespace; no client sends it"),
    chunks("1;a =b\r\nx\r\n0\r\n\r\n", .refused(400), "RFC 9110 §15.5.1: bad whitespace; no client sends it"),
    chunks("1;a= b\r\nx\r\n0\r\n\r\n", .refused(400), "RFC 9110 §15.5.1: bad whitespace; no client sends it"),
    chunks("1;;a\r\nx\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1.1"),
    chunks("1;a=b=c\r\nx\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1.1"),
    chunks("1;a=\"\r\"\r\nx\r\n0\r\n\r\n", .refused(400), "RFC 9112 §2.2"),
    chunks("1;a=\"\n\"\r\nx\r\n0\r\n\r\n", .refused(400), "RFC 9112 §2.2"),
    chunks("1;a\r\rx\r\n0\r\n\r\n", .refused(400), "RFC 9112 §2.2"),
    chunks("1\r\n\nx\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1: data longer than its size"),
    chunks("1\r\nxy\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1: data longer than its size"),
    chunks("1\r\nx0\r\n\r\n", .refused(400), "RFC 9112 §7.1: no CRLF after the data"),
    chunks("1\r\nx\r\n\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1: one CRLF after the data"),
    chunks("1\r\nx\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1"),
    chunks("0\n\n", .refused(400), "RFC 9112 §2.2"),
    chunks("0\r\n: b\r\n\r\n", .refused(400), "RFC 9110 §5.1"),
    chunks("0\r\nA: b\n\r\n", .refused(400), "RFC 9112 §2.2"),
    chunks("0\r\nTrailer: a\r\n\r\n", .refused(400), "RFC 9110 §6.5.1: refused rather than dropped"),
    chunks("0\r\nContent-Type: a/b\r\n\r\n", .refused(400), "RFC 9110 §6.5.1: refused rather than dropped"),
    chunks("0\r\n0\r\n\r\n", .refused(400), "RFC 9112 §7.1.2: a second last chunk is no trailer"),
]

private func chunks(_ body: String, _ expectation: MessageCase.Expectation, _ rule: String) -> MessageCase {
    .head(["PUT / HTTP/1.1", "Host: a", chunked], body: body, expectation, rule)
}

private let lineEndCases: [MessageCase] = [
    MessageCase("", .parsed(), "RFC 9112 §2.1: nothing at all"),
    MessageCase("\r\n", .parsed(), "RFC 9112 §2.2: an empty line before a request that does not come"),
    MessageCase("\r\n\r\n\r\n", .refused(400), "RFC 9112 §2.2: at least one; two are ignored"),
    MessageCase("\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", .parsed("GET /x a"), "RFC 9112 §2.2"),
    MessageCase("\r\n GET /x HTTP/1.1\r\nHost: a\r\n\r\n", .refused(400), "RFC 9112 §3"),
    MessageCase("\r\n\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", .refused(400), "RFC 9112 §2.2"),
    MessageCase("\0GET /x HTTP/1.1\r\nHost: a\r\n\r\n", .refused(400), "RFC 9112 §3"),
    MessageCase("GET /x HTTP/1.1\r\nHost: a\r\n", .waiting(), "RFC 9112 §2.1: without the empty line"),
    MessageCase("GET /x HTTP/1.1\r\nHost: a\r\n\r", .waiting(), "RFC 9112 §2.1"),
    MessageCase("GET /x HTTP/1.1\nHost: a\r\n\r\n", .refused(400), "RFC 9112 §2.2: a bare LF may end a line; not here"),
    MessageCase("GET /x HTTP/1.1\r\nHost: a\n\r\n", .refused(400), "RFC 9112 §2.2: a bare LF may end a line; not here"),
    MessageCase("GET /x HTTP/1.1\r\nHost: a\r\n\n", .refused(400), "RFC 9112 §2.2: a bare LF may end a line; not here"),
    MessageCase("GET /x HTTP/1.1\rHost: a\r\n\r\n", .refused(400), "RFC 9112 §2.2"),
    MessageCase("GET /x HTTP/1.1\r\nHost: a\r\r\n\r\n", .refused(400), "RFC 9112 §2.2"),
    MessageCase("GET /x HTTP/1.1\r\nHost: a\n\n", .refused(400), "RFC 9112 §2.2"),
    MessageCase("GET /x\r\nHTTP/1.1\r\nHost: a\r\n\r\n", .refused(400), "RFC 9112 §3"),
    MessageCase("GET\r\n/x HTTP/1.1\r\nHost: a\r\n\r\n", .refused(400), "RFC 9112 §3"),
    MessageCase("GET /x\rHTTP/1.1\r\nHost: a\r\n\r\n", .refused(400), "RFC 9112 §3"),
    MessageCase("GET\u{B}/x HTTP/1.1\r\nHost: a\r\n\r\n", .refused(400), "RFC 9112 §3: lenient parsing is a choice"),
    MessageCase("GET /x\u{C}HTTP/1.1\r\nHost: a\r\n\r\n", .refused(400), "RFC 9112 §3: lenient parsing is a choice"),
    MessageCase("GET /x\0 HTTP/1.1\r\nHost: a\r\n\r\n", .refused(400), "RFC 9112 §3.2"),
    MessageCase("GET /x HTTP/1.1\0\r\nHost: a\r\n\r\n", .refused(400), "RFC 9112 §2.3"),
    MessageCase("GET /x HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", .refused(400), "RFC 9110 §5.5"),
    MessageCase("GET /x HTTP/1.1\r\n\0: b\r\nHost: a\r\n\r\n", .refused(400), "RFC 9110 §5.1"),
    MessageCase("GET /x HTTP/1.1 junk\r\nHost: a\r\n\r\n", .refused(400), "RFC 9112 §3"),
]

private let fieldLineCases: [MessageCase] = [
    .head(["GET / HTTP/1.1", "Host: a", "X-Empty:", "X-Tab:\tb\t"], .parsed("GET / a"), "RFC 9112 §5"),
    .head(["GET / HTTP/1.1", "HoSt: a"], .parsed("GET / a"), "RFC 9110 §5.1"),
    .head(["GET / HTTP/1.1", "Host: a", "X: b", "X: c"], .parsed("GET / a"), "RFC 9110 §5.3"),
    .head(
        ["GET / HTTP/1.1", "Host: a", "X: \"b\\\""],
        .parsed("GET / a"),
        "RFC 9110 §5.5: values are not looked into"
    ),
    .head(["GET / HTTP/1.1", "Host: a", "X-\u{1F600}: b"], .refused(400), "RFC 9110 §5.1"),
    .head(["GET / HTTP/1.1", "Host : a"], .refused(400), "RFC 9112 §5.1"),
    .head(["GET / HTTP/1.1", "Host\t: a"], .refused(400), "RFC 9112 §5.1"),
    .head(["GET / HTTP/1.1", "Host a"], .refused(400), "RFC 9112 §5"),
    .head(["GET / HTTP/1.1", "Host: a", "X"], .refused(400), "RFC 9112 §5"),
    .head(["GET / HTTP/1.1", "Host: a", "X Y: b"], .refused(400), "RFC 9110 §5.1"),
    .head(["GET / HTTP/1.1", "Host: a", "X/Y: b"], .refused(400), "RFC 9110 §5.1"),
    .head(["GET / HTTP/1.1", "Host: a", "X@Y: b"], .refused(400), "RFC 9110 §5.1"),
    .head(["GET / HTTP/1.1", "Host: a", "[X]: b"], .refused(400), "RFC 9110 §5.1"),
    .head(["GET / HTTP/1.1", "Host: a", "{X}: b"], .refused(400), "RFC 9110 §5.1"),
    .head(["GET / HTTP/1.1", "Host: a", "X\u{7F}: b"], .refused(400), "RFC 9110 §5.1"),
    .head(["GET / HTTP/1.1", "Host: a", "=: b"], .refused(400), "RFC 9110 §5.1"),
    .head(["GET / HTTP/1.1", "Host: a", ":"], .refused(400), "RFC 9110 §5.1"),
    .head(["GET / HTTP/1.1", "Host: a", " "], .refused(400), "RFC 9112 §5.2: a line of whitespace"),
    .head(["GET / HTTP/1.1", "Host: a", " b"], .refused(400), "RFC 9112 §5.2: obs-fold may be refused, and is"),
    .head(["GET / HTTP/1.1", "Host:", " a"], .refused(400), "RFC 9112 §5.2: obs-fold may be refused, and is"),
    .head(["GET / HTTP/1.1", " X: y", "Host: a"], .refused(400), "RFC 9112 §2.2: may be consumed, and is refused"),
    .head(["GET / HTTP/1.1", "Host: a", "X: b\u{8}"], .refused(400), "RFC 9110 §5.5: may be kept, and is refused"),
    .head(["GET / HTTP/1.1", "Host: a", "X: \u{1F}"], .refused(400), "RFC 9110 §5.5: may be kept, and is refused"),
    MessageCase(
        Array("GET / HTTP/1.1\r\nHost: a\r\nX: caf".utf8) + [0xE9] + Array("\r\n\r\n".utf8),
        .refused(400),
        "RFC 9110 §5.5: obs-text should be opaque; what is not UTF-8 is refused"
    ),
    MessageCase(
        Array("GET / HTTP/1.1\r\nHost: a\r\nX".utf8) + [0x80] + Array(": b\r\n\r\n".utf8),
        .refused(400),
        "RFC 9110 §5.1"
    ),
]

private let formCases: [MessageCase] = [
    .head(["GET http://b:81/x?y HTTP/1.1", "Host: a"], .parsed("GET /x b:81"), "RFC 9112 §3.2.2: Host is ignored"),
    .head(["GET http://[::1]/x HTTP/1.1", "Host: a"], .parsed("GET /x [::1]"), "RFC 9112 §3.2.2"),
    .head(["GET hTTp://b/ HTTP/1.1", "Host: b"], .parsed("GET / b"), "RFC 3986 §3.1"),
    .head(["GET http://b HTTP/1.0"], .parsed("GET / b HTTP/1.0 close"), "RFC 9112 §3.2.2"),
    .head(["GET http://b/ HTTP/1.1", "X: y"], .refused(400), "RFC 9112 §3.2: Host is needed all the same"),
    .head(["GET http://b/ HTTP/1.1", "Host: a/b"], .refused(400), "RFC 9112 §3.2: an invalid Host all the same"),
    .head(["GET http://b/ HTTP/1.1", "Host: a", "Host: b"], .refused(400), "RFC 9112 §3.2"),
    .head(["GET http://u:p@b/ HTTP/1.1", "Host: b"], .refused(400), "RFC 9110 §4.2.4"),
    .head(["GET http://@b/ HTTP/1.1", "Host: b"], .refused(400), "RFC 9110 §4.2.4"),
    .head(["GET http://:80/ HTTP/1.1", "Host: b"], .refused(400), "RFC 9110 §4.2.1"),
    .head(["GET http://?x HTTP/1.1", "Host: b"], .refused(400), "RFC 9110 §4.2.1"),
    .head(["GET http://b\\c/ HTTP/1.1", "Host: b"], .refused(400), "RFC 3986 §3.2"),
    .head(["GET http://b%2F/ HTTP/1.1", "Host: b"], .refused(400), "RFC 3986 §3.2.2: no percent-encoding in a host"),
    .head(["GET http://b#c HTTP/1.1", "Host: b"], .refused(400), "RFC 9112 §3.2.2: no fragment"),
    .head(["GET http://b//x HTTP/1.1", "Host: b"], .refused(400), "RFC 3986 §3.3: empty segments are refused"),
    .head(["GET HTTPS://b/ HTTP/1.1", "Host: b"], .refused(421), "RFC 9110 §7.4"),
    .head(["GET file:///etc/passwd HTTP/1.1", "Host: b"], .refused(400), "RFC 9112 §3.2.2: http only"),
    .head(["GET ws://b/ HTTP/1.1", "Host: b"], .refused(400), "RFC 9112 §3.2.2: http only"),
    .head(["OPTIONS http://b HTTP/1.1", "Host: b"], .parsed("OPTIONS * b"), "RFC 9110 §4.2.3, RFC 9112 §3.2.4"),
    .head(["OPTIONS http://b/ HTTP/1.1", "Host: b"], .parsed("OPTIONS / b"), "RFC 9110 §4.2.3"),
    .head(["OPTIONS http://b?x HTTP/1.1", "Host: b"], .parsed("OPTIONS / b"), "RFC 9112 §3.2.4: not without a query"),
    .head(
        ["OPTIONS * HTTP/1.1", "Host: a:1", "Content-Length: 1"],
        body: "x",
        .parsed("OPTIONS * a:1 length(1) 'x'"),
        "RFC 9110 §9.3.7"
    ),
    .head(["OPTIONS * HTTP/1.0"], .parsed("OPTIONS * - HTTP/1.0 close"), "RFC 9112 §3.2.4"),
    .head(["OPTIONS *?x HTTP/1.1", "Host: a"], .refused(400), "RFC 9112 §3.2.4"),
    .head(["OPTIONS /* HTTP/1.1", "Host: a"], .parsed("OPTIONS /* a"), "RFC 3986 §3.3"),
    .head(["options * HTTP/1.1", "Host: a"], .refused(400), "RFC 9110 §9.1: another method than OPTIONS"),
    .head(["HEAD * HTTP/1.1", "Host: a"], .refused(400), "RFC 9112 §3.2.4"),
    .head(["CONNECT b:443 HTTP/1.1", "Host: b:443"], .refused(501), "RFC 9110 §9.3.6: not implemented"),
    .head(["CONNECT / HTTP/1.1", "Host: a"], .refused(501), "RFC 9110 §9.3.6: not implemented"),
    .head(["GET b:443 HTTP/1.1", "Host: b:443"], .refused(400), "RFC 9112 §3.2.3: for CONNECT only"),
    .head(["GET b HTTP/1.1", "Host: b"], .refused(400), "RFC 9112 §3.2.1"),
    .head(["TRACE / HTTP/1.1", "Host: a"], .parsed("TRACE / a"), "RFC 9110 §9.3.8: the application's to refuse"),
]

private let pathCases: [MessageCase] = [
    .head(["GET /%61%2D%7e HTTP/1.1", "Host: a"], .parsed("GET /a-~ a"), "RFC 3986 §2.3"),
    .head(["GET /a%3Fb%23c HTTP/1.1", "Host: a"], .parsed("GET /a?b#c a"), "RFC 3986 §2.2"),
    .head(["GET /%252e%252e HTTP/1.1", "Host: a"], .parsed("GET /%2e%2e a"), "RFC 3986 §2.4: decoded once"),
    .head(["GET /..a/.b/c.. HTTP/1.1", "Host: a"], .parsed("GET /..a/.b/c.. a"), "RFC 3986 §3.3"),
    .head(["GET /x?../%2e%2e/%2F HTTP/1.1", "Host: a"], .parsed("GET /x a"), "RFC 3986 §3.4: a query has no segments"),
    .head(["GET /x?a=b&&c& HTTP/1.1", "Host: a"], .parsed("GET /x a"), "RFC 3986 §3.4"),
    .head(["GET /%F0%9F%98%80 HTTP/1.1", "Host: a"], .parsed("GET /\u{1F600} a"), "RFC 3986 §2.5"),
    .head(["GET /.. HTTP/1.1", "Host: a"], .refused(400), "RFC 3986 §6.2.2.3: dot segments are refused"),
    .head(["GET /%2e%2e HTTP/1.1", "Host: a"], .refused(400), "RFC 3986 §6.2.2.3: dot segments are refused"),
    .head(["GET /%2E. HTTP/1.1", "Host: a"], .refused(400), "RFC 3986 §6.2.2.3: dot segments are refused"),
    .head(["GET /a/%2e/b HTTP/1.1", "Host: a"], .refused(400), "RFC 3986 §6.2.2.3: dot segments are refused"),
    .head(["GET http://b/a/../c HTTP/1.1", "Host: a"], .refused(400), "RFC 3986 §6.2.2.3: dot segments are refused"),
    .head(["GET ///x HTTP/1.1", "Host: a"], .refused(400), "RFC 3986 §3.3: empty segments are refused"),
    .head(["GET /%2F HTTP/1.1", "Host: a"], .refused(400), "RFC 3986 §2.2: an encoded slash is refused"),
    .head(["GET /..%2Fx HTTP/1.1", "Host: a"], .refused(400), "RFC 3986 §2.2: an encoded slash is refused"),
    .head(["GET /%5C.. HTTP/1.1", "Host: a"], .parsed("GET /\\.. a"), "RFC 3986 §3.3: a backslash separates nothing"),
    .head(["GET /%00 HTTP/1.1", "Host: a"], .refused(400), "RFC 3986 §7.3"),
    .head(["GET /%0d%0aX:%20y HTTP/1.1", "Host: a"], .refused(400), "RFC 3986 §7.3"),
    .head(["GET /% HTTP/1.1", "Host: a"], .refused(400), "RFC 3986 §2.1"),
    .head(["GET /%%20 HTTP/1.1", "Host: a"], .refused(400), "RFC 3986 §2.1"),
    .head(["GET /%2g HTTP/1.1", "Host: a"], .refused(400), "RFC 3986 §2.1"),
    .head(["GET /%c3%28 HTTP/1.1", "Host: a"], .refused(400), "RFC 3986 §2.5: UTF-8 only"),
    .head(["GET /%F4%90%80%80 HTTP/1.1", "Host: a"], .refused(400), "RFC 3629 §3"),
    .head(["GET /\u{1F600} HTTP/1.1", "Host: a"], .refused(400), "RFC 9112 §3.2: not a URI character"),
    .head(["GET /x?\u{E9} HTTP/1.1", "Host: a"], .refused(400), "RFC 9112 §3.2: not a URI character"),
    .head(["GET /x?`^ HTTP/1.1", "Host: a"], .refused(400), "RFC 3986 §3.4"),
    MessageCase(
        Array("GET /".utf8) + [0xFF] + Array(" HTTP/1.1\r\nHost: a\r\n\r\n".utf8),
        .refused(400),
        "RFC 9112 §3.2: not a URI character"
    ),
]

private let hostFieldCases: [MessageCase] = [
    .head(["GET /x HTTP/1.1"], .refused(400), "RFC 9112 §3.2"),
    .head(["GET /x HTTP/1.1", "X-Host: a"], .refused(400), "RFC 9112 §3.2"),
    .head(["GET /x HTTP/1.1", "Host: a", "Host: a"], .refused(400), "RFC 9112 §3.2: also if they are equal"),
    .head(["GET /x HTTP/1.1", "Host: a", "X: y", "hOST:"], .refused(400), "RFC 9112 §3.2"),
    .head(["GET /x HTTP/1.1", "Host:"], .refused(400), "RFC 9110 §4.2.1: http has a host"),
    .head(["GET /x HTTP/1.1", "Host: u@a"], .refused(400), "RFC 9110 §7.2: no user information"),
    .head(["GET /x HTTP/1.1", "Host: u:p@a:80"], .refused(400), "RFC 9110 §7.2: no user information"),
    .head(["GET /x HTTP/1.1", "Host: a, b"], .refused(400), "RFC 9112 §3.2: not a list"),
    .head(["GET /x HTTP/1.1", "Host: a#b"], .refused(400), "RFC 9110 §7.2"),
    .head(["GET /x HTTP/1.1", "Host: a:80a"], .refused(400), "RFC 3986 §3.2.3"),
    .head(["GET /x HTTP/1.1", "Host: a:+80"], .refused(400), "RFC 3986 §3.2.3"),
    .head(["GET /x HTTP/1.1", "Host: a:000080"], .refused(400), "RFC 3986 §3.2.3: five digits are enough"),
    .head(["GET /x HTTP/1.1", "Host: a!b"], .refused(400), "RFC 3986 §3.2.2: unreserved characters only"),
    .head(["GET /x HTTP/1.1", "Host: a\\b"], .refused(400), "RFC 3986 §3.2.2"),
    .head(["GET /x HTTP/1.1", "Host: a\u{7F}"], .refused(400), "RFC 9110 §5.5"),
    .head(["GET /x HTTP/1.1", "Host: a_b.c-d~"], .parsed("GET /x a_b.c-d~"), "RFC 3986 §3.2.2"),
    .head(["GET /x HTTP/1.1", "Host: a:65535"], .parsed("GET /x a:65535"), "RFC 3986 §3.2.3"),
    .head(["GET /x HTTP/1.0", "Host: a"], .parsed("GET /x a HTTP/1.0 close"), "RFC 9112 §3.2"),
    .head(["GET /x HTTP/1.0", "Host: u@a"], .refused(400), "RFC 9112 §3.2"),
]

private let versionCases: [MessageCase] = [
    .head(["GET /x HTTP/1.0"], .parsed("GET /x - HTTP/1.0 close"), "RFC 9112 §9.3"),
    .head(
        ["POST /x HTTP/1.0", "Content-Length: 1"],
        body: "x",
        .parsed("POST /x - HTTP/1.0 length(1) close 'x'"),
        "RFC 9112 §6.3"
    ),
    .head(
        ["POST /x HTTP/1.0"],
        body: "x",
        .waiting(after: "POST /x - HTTP/1.0 close"),
        "RFC 9112 §6.3: a request does not end with the connection"
    ),
    .head(["POST /x HTTP/1.0", "Host: a", chunked], body: "0\r\n\r\n", .refused(400), "RFC 9112 §6.1: faulty framing"),
    .head(["GET /x HTTP/1.2", "Host: a"], .parsed("GET /x a"), "RFC 9110 §2.5: answered as 1.1"),
    .head(["GET /x HTTP/1.2"], .refused(400), "RFC 9112 §3.2: 1.1 needs a Host"),
    .head(["PUT /x HTTP/1.9", "Host: a", chunked], body: "0\r\n\r\n", .parsed("PUT /x a chunked"), "RFC 9110 §2.5"),
    .head(["GET /x HTTP/0.9", "Host: a"], .refused(505), "RFC 9110 §15.6.6"),
    .head(["GET /x HTTP/2", "Host: a"], .refused(400), "RFC 9112 §2.3"),
    .head(["GET /x HTTP/2.0", "Host: a"], .refused(505), "RFC 9110 §15.6.6"),
    .head(["GET /x HTTP/9.9", "Host: a"], .refused(505), "RFC 9110 §15.6.6"),
    .head(["GET /x http/1.1", "Host: a"], .refused(400), "RFC 9112 §2.3: case-sensitive"),
    .head(["GET /x HTTP/11", "Host: a"], .refused(400), "RFC 9112 §2.3"),
    .head(["GET /x HTTP/1.x", "Host: a"], .refused(400), "RFC 9112 §2.3"),
    .head(["GET /x HTTP/-1.1", "Host: a"], .refused(400), "RFC 9112 §2.3"),
    .head(["GET /x HTTP/ 1.1", "Host: a"], .refused(400), "RFC 9112 §2.3"),
    .head(["GET /x HTTP /1.1", "Host: a"], .refused(400), "RFC 9112 §2.3"),
    .head(["GET /x RTSP/1.0", "Host: a"], .refused(400), "RFC 9112 §2.3"),
    MessageCase("GET /x\r\n", .refused(400), "RFC 9112 §3: HTTP/0.9"),
    MessageCase("GET /x \r\n", .refused(400), "RFC 9112 §3: HTTP/0.9"),
    MessageCase("PRI * HTTP/2.0\r\n", .refused(505), "RFC 9113 §3.4: the preface is refused at its first line"),
    MessageCase("PRI * HTTP/1.1\r\n", .refused(400), "RFC 9112 §3.2.4"),
    MessageCase("SSH-2.0-x\r\n", .refused(400), "RFC 9112 §3"),
    MessageCase("{\"a\":1}", .refused(400), "RFC 9110 §5.6.2"),
    MessageCase("HTTP/1.1 200 OK\r\n\r\n", .refused(400), "RFC 9112 §2.1: a response"),
]

private let connectionCases: [MessageCase] = [
    .head(
        ["GET / HTTP/1.1", "Host: a", "Connection: close,\u{301}"],
        .parsed("GET / a close"),
        "RFC 9110 §7.6.1: a list of octets, whatever they mean in Unicode"
    ),
    .head(["GET /x HTTP/1.1", "Host: a", "Connection: close"], .parsed("GET /x a close"), "RFC 9112 §9.6"),
    .head(["GET /x HTTP/1.1", "Host: a", "Connection: ,, Close ,"], .parsed("GET /x a close"), "RFC 9110 §5.6.1.2"),
    .head(["GET /x HTTP/1.1", "Host: a", "Connection:"], .parsed("GET /x a"), "RFC 9112 §9.3"),
    .head(["GET /x HTTP/1.1", "Host: a", "Connection: closed"], .parsed("GET /x a"), "RFC 9110 §7.6.1"),
    .head(["GET /x HTTP/1.1", "Host: a", "Connection: Host"], .parsed("GET /x a"), "RFC 9110 §7.6.1: no proxy"),
    .head(["GET /x HTTP/1.1", "Host: a", "Proxy-Connection: close"], .parsed("GET /x a"), "RFC 9112 §C.2.2"),
    .head(["GET /x HTTP/1.0", "Connection: keep-alive"], .parsed("GET /x - HTTP/1.0"), "RFC 9112 §9.3"),
    .head(["GET /x HTTP/1.0", "Keep-Alive: timeout=5"], .parsed("GET /x - HTTP/1.0 close"), "RFC 9112 §9.3"),
    .head(
        ["GET /x HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket"],
        .parsed("GET /x a"),
        "RFC 9110 §7.8: may be ignored, and is"
    ),
    .head(
        ["GET /x HTTP/1.1", "Host: a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA"],
        .parsed("GET /x a"),
        "RFC 9110 §7.8: may be ignored, and is"
    ),
    .head(
        ["PUT /x HTTP/1.1", "Host: a", "Connection: close, Upgrade", "Upgrade: TLS/1.0", "Content-Length: 1"],
        body: "x",
        .parsed("PUT /x a length(1) close 'x'"),
        "RFC 9110 §7.8: may be ignored, and is"
    ),
    .head(
        ["GET /x HTTP/1.0", "Upgrade: websocket", "Connection: Upgrade"],
        .parsed("GET /x - HTTP/1.0 close"),
        "RFC 9110 §7.8: ignored in HTTP/1.0"
    ),
]

private let expectationCases: [MessageCase] = [
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 1"],
        body: "x",
        .parsed("PUT / a length(1) continue 'x'"),
        "RFC 9110 §10.1.1"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Expect: 100-CONTINUE", chunked],
        body: "0\r\n\r\n",
        .parsed("PUT / a chunked continue"),
        "RFC 9110 §10.1.1: case-insensitive"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Expect: 100-continue,\t100-continue", "Content-Length: 1"],
        body: "x",
        .parsed("PUT / a length(1) continue 'x'"),
        "RFC 9110 §10.1.1: a list"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Expect: 100-continue", "Expect: 100-continue", "Content-Length: 1"],
        body: "x",
        .parsed("PUT / a length(1) continue 'x'"),
        "RFC 9110 §5.3: a list on two lines"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Expect: , 100-continue ,", "Content-Length: 1"],
        body: "x",
        .parsed("PUT / a length(1) continue 'x'"),
        "RFC 9110 §5.6.1.2"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Expect: ,", "Content-Length: 1"],
        body: "x",
        .parsed("PUT / a length(1) 'x'"),
        "RFC 9110 §5.6.1.2"
    ),
    .head(["GET / HTTP/1.1", "Host: a", "Expect: 100-continue"], .parsed("GET / a"), "RFC 9110 §10.1.1: no content"),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Expect: x", "Content-Length: 1"],
        .refused(417),
        "RFC 9110 §10.1.1: 417 is a choice"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Expect: 100-continue=x", "Content-Length: 1"],
        .refused(417),
        "RFC 9110 §10.1.1"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Expect: 100-continue 100-continue", "Content-Length: 1"],
        .refused(417),
        "RFC 9110 §10.1.1: one member, and not that one"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Expect: x", "Expect: 100-continue", "Content-Length: 1"],
        .refused(417),
        "RFC 9110 §10.1.1"
    ),
    .head(
        ["PUT / HTTP/1.0", "Expect: 100-continue", "Content-Length: 1"],
        body: "x",
        .parsed("PUT / - HTTP/1.0 length(1) close 'x'"),
        "RFC 9110 §10.1.1: ignored in HTTP/1.0"
    ),
    .head(
        ["PUT / HTTP/1.0", "Expect: x", "Content-Length: 1"],
        body: "x",
        .parsed("PUT / - HTTP/1.0 length(1) close 'x'"),
        "RFC 9110 §10.1.1: ignored in HTTP/1.0"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 1048577"],
        .refused(413),
        "RFC 9110 §10.1.1: a final status in place of 100"
    ),
]

private let pipelineCases: [MessageCase] = [
    .head(
        ["PUT /1 HTTP/1.1", "Host: a", "Content-Length: 1"],
        body: "xGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
        .parsed("PUT /1 a length(1) 'x'", "GET /2 b"),
        "RFC 9112 §9.3.2"
    ),
    .head(
        ["PUT /1 HTTP/1.1", "Host: a", chunked],
        body: "1\r\nx\r\n0\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
        .parsed("PUT /1 a chunked 'x'", "GET /2 b"),
        "RFC 9112 §2.2"
    ),
    .head(
        ["PUT /1 HTTP/1.1", "Host: a", "Content-Length: 1"],
        body: "xG",
        .waiting(after: "PUT /1 a length(1) 'x'"),
        "RFC 9112 §9.3.2"
    ),
    .head(
        ["PUT /1 HTTP/1.1", "Host: a", "Content-Length: 1"],
        body: "xy\r\n",
        .refused(400, after: "PUT /1 a length(1) 'x'"),
        "RFC 9112 §6.3: what follows is not content"
    ),
    .head(
        ["PUT /1 HTTP/1.1", "Host: a", "Content-Length: 1"],
        body: "x\0",
        .refused(400, after: "PUT /1 a length(1) 'x'"),
        "RFC 9112 §3"
    ),
    .head(
        ["PUT /1 HTTP/1.1", "Host: a", "Content-Length: 0"],
        body: "{}",
        .refused(400, after: "PUT /1 a length(0)"),
        "RFC 9112 §6.3: what follows is not content"
    ),
    .head(
        ["PUT /1 HTTP/1.1", "Host: a"],
        body: "a=b&c=d",
        .refused(400, after: "PUT /1 a"),
        "RFC 9112 §6.3: without a length there is no content"
    ),
    .head(
        ["PUT /1 HTTP/1.1", "Host: a", chunked],
        body: "0\r\n\r\n\n",
        .refused(400, after: "PUT /1 a chunked"),
        "RFC 9112 §2.2"
    ),
    .head(
        ["PUT /1 HTTP/1.1", "Host: a", chunked],
        body: "0\r\n\r\n0\r\n\r\n",
        .refused(400, after: "PUT /1 a chunked"),
        "RFC 9112 §7.1: the message has ended"
    ),
    .head(
        ["GET /1 HTTP/1.1", "Host: a"],
        body: "GET /2 HTTP/1.1\r\n\r\n",
        .refused(400, after: "GET /1 a"),
        "RFC 9112 §3.2: every request needs its Host"
    ),
    .head(
        ["GET /1 HTTP/1.1", "Host: a"],
        body: "\r\n\r\n\r\n",
        .refused(400, after: "GET /1 a"),
        "RFC 9112 §2.2: at least one; two are ignored"
    ),
    .head(
        ["GET /1 HTTP/1.1", "Host: a"],
        body: "GET /2 HTTP/1.0\r\n\r\nGET /3 HTTP/1.1\r\nHost: c\r\n\r\n",
        .parsed("GET /1 a", "GET /2 - HTTP/1.0 close", "GET /3 c"),
        "RFC 9112 §9.6: the connection's to stop at close"
    ),
]

private let limitCases: [MessageCase] = [
    .head(
        ["GET /234567 HTTP/1.1", "Host: a"],
        limits: .with(\.requestTargetBytesLimit, 7),
        .parsed("GET /234567 a"),
        "RFC 9112 §3: a target at the limit"
    ),
    .head(
        ["GET /2345678 HTTP/1.1", "Host: a"],
        limits: .with(\.requestTargetBytesLimit, 7),
        .refused(414),
        "RFC 9112 §3: one byte more"
    ),
    .head(
        ["GET http://b/2 HTTP/1.1", "Host: a"],
        limits: .with(\.requestTargetBytesLimit, 10),
        .parsed("GET /2 b"),
        "RFC 9112 §3"
    ),
    .head(
        ["GET http://b/23 HTTP/1.1", "Host: a"],
        limits: .with(\.requestTargetBytesLimit, 10),
        .refused(414),
        "RFC 9112 §3: scheme and authority count"
    ),
    .head(
        ["GET /?%20 HTTP/1.1", "Host: a"],
        limits: .with(\.requestTargetBytesLimit, 5),
        .parsed("GET / a"),
        "RFC 9112 §3: bytes as sent"
    ),
    .head(
        ["GET /?%20x HTTP/1.1", "Host: a"],
        limits: .with(\.requestTargetBytesLimit, 5),
        .refused(414),
        "RFC 9112 §3: bytes as sent"
    ),
    .head(
        ["POST / HTTP/1.1", "Host: a"],
        limits: .with(\.methodBytesLimit, 4),
        .parsed("POST / a"),
        "RFC 9112 §3: a method at the limit"
    ),
    .head(
        ["PATCH / HTTP/1.1", "Host: a"],
        limits: .with(\.methodBytesLimit, 4),
        .refused(501),
        "RFC 9112 §3: one byte more"
    ),
    .head(
        ["GET / HTTP/1.1", "Host: a", "B: c"],
        limits: .with(\.headerBytesLimit, 33),
        .parsed("GET / a"),
        "RFC 6585 §5: a header section at the limit"
    ),
    .head(
        ["GET / HTTP/1.1", "Host: a", "B: cd"],
        limits: .with(\.headerBytesLimit, 33),
        .refused(431),
        "RFC 6585 §5: one byte more"
    ),
    MessageCase(
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        limits: .with(\.headerBytesLimit, 27),
        .parsed("GET / a"),
        "RFC 9112 §2.2: empty lines are not part of the request"
    ),
    .head(
        ["GET / HTTP/1.1", "Host: a"],
        body: "GET / HTTP/1.1\r\nHost: b\r\n\r\n",
        limits: .with(\.headerBytesLimit, 27),
        .parsed("GET / a", "GET / b"),
        "RFC 6585 §5: for each request"
    ),
    .head(
        ["GET / HTTP/1.1", "Host: a", "B: c"],
        limits: .with(\.headerFieldsLimit, 2),
        .parsed("GET / a"),
        "RFC 6585 §5: as many field lines as the limit"
    ),
    .head(
        ["GET / HTTP/1.1", "Host: a", "B: c", "B: c"],
        limits: .with(\.headerFieldsLimit, 2),
        .refused(431),
        "RFC 6585 §5: one more"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", chunked],
        body: "0\r\nB: c\r\n\r\n",
        limits: .with(\.headerFieldsLimit, 3),
        .parsed("PUT / a chunked"),
        "RFC 6585 §5: trailers count"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", chunked],
        body: "0\r\nB: c\r\nB: c\r\n\r\n",
        limits: .with(\.headerFieldsLimit, 3),
        .refused(431),
        "RFC 6585 §5: trailers count"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Content-Length: 2"],
        body: "hi",
        limits: .with(\.bodyBytesLimit, 2),
        .parsed("PUT / a length(2) 'hi'"),
        "RFC 9110 §15.5.14: a body at the limit"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Content-Length: 3"],
        limits: .with(\.bodyBytesLimit, 2),
        .refused(413),
        "RFC 9110 §15.5.14: one byte more, refused by its head"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", "Content-Length: 0"],
        limits: .with(\.bodyBytesLimit, 0),
        .parsed("PUT / a length(0)"),
        "RFC 9110 §15.5.14"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", chunked],
        body: "1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
        limits: .with(\.bodyBytesLimit, 2),
        .parsed("PUT / a chunked 'hi'"),
        "RFC 9110 §15.5.14"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", chunked],
        body: "1\r\nh\r\n2\r\n",
        limits: .with(\.bodyBytesLimit, 2),
        .refused(413),
        "RFC 9110 §15.5.14: refused by the size of the chunk"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", chunked],
        body: "0;abc\r\n\r\n",
        limits: .with(\.chunkLineBytesLimit, 5),
        .parsed("PUT / a chunked"),
        "RFC 9112 §7.1.1: a chunk-size line at the limit"
    ),
    .head(
        ["PUT / HTTP/1.1", "Host: a", chunked],
        body: "0;abcd\r\n\r\n",
        limits: .with(\.chunkLineBytesLimit, 5),
        .refused(400),
        "RFC 9112 §7.1.1: one byte more"
    ),
]
