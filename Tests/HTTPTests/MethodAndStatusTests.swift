import HTTP
import Testing

@Suite struct MethodAndStatusTests {
    @Test func `a method is a token and case-sensitive`() {
        #expect(Method(rawValue: "GET") == .get)
        #expect(Method(rawValue: "get") != .get)
        #expect(Method(rawValue: "M-SEARCH")?.rawValue == "M-SEARCH")
        #expect(Method(rawValue: "") == nil)
        #expect(Method(rawValue: "G T") == nil)
        #expect(Method(rawValue: "GÉT") == nil)
    }

    @Test(arguments: [
        (StatusCode.continue, "100 Continue"), (.ok, "200 OK"), (.created, "201 Created"),
        (.noContent, "204 No Content"),
        (.badRequest, "400 Bad Request"), (.unauthorized, "401 Unauthorized"), (.forbidden, "403 Forbidden"),
        (.notFound, "404 Not Found"), (.methodNotAllowed, "405 Method Not Allowed"),
        (.notAcceptable, "406 Not Acceptable"), (.requestTimeout, "408 Request Timeout"), (.conflict, "409 Conflict"),
        (.lengthRequired, "411 Length Required"), (.contentTooLarge, "413 Content Too Large"),
        (.uriTooLong, "414 URI Too Long"), (.unsupportedMediaType, "415 Unsupported Media Type"),
        (.expectationFailed, "417 Expectation Failed"), (.misdirectedRequest, "421 Misdirected Request"),
        (.unprocessableContent, "422 Unprocessable Content"), (.upgradeRequired, "426 Upgrade Required"),
        (.tooManyRequests, "429 Too Many Requests"),
        (.requestHeaderFieldsTooLarge, "431 Request Header Fields Too Large"),
        (.internalServerError, "500 Internal Server Error"), (.notImplemented, "501 Not Implemented"),
        (.badGateway, "502 Bad Gateway"), (.serviceUnavailable, "503 Service Unavailable"),
        (.gatewayTimeout, "504 Gateway Timeout"), (.httpVersionNotSupported, "505 HTTP Version Not Supported"),
        (.insufficientStorage, "507 Insufficient Storage"), (StatusCode(code: 299), "299"),
    ])
    func `a status has its registered phrase`(status: StatusCode, expected: String) {
        #expect("\(status)" == expected)
    }
}
