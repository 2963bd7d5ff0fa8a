/// A response status. RFC 9110 §15.
public struct StatusCode: Hashable, Sendable {
    public let code: Int

    /// Precondition: three digits, 100 to 599.
    public init(code: Int) {
        precondition((100...599).contains(code), "a status code lies between 100 and 599")
        self.code = code
    }

    public static let `continue` = StatusCode(code: 100)
    public static let ok = StatusCode(code: 200)
    public static let created = StatusCode(code: 201)
    public static let noContent = StatusCode(code: 204)
    public static let notModified = StatusCode(code: 304)
    public static let badRequest = StatusCode(code: 400)
    public static let unauthorized = StatusCode(code: 401)
    public static let forbidden = StatusCode(code: 403)
    public static let notFound = StatusCode(code: 404)
    public static let methodNotAllowed = StatusCode(code: 405)
    public static let notAcceptable = StatusCode(code: 406)
    public static let requestTimeout = StatusCode(code: 408)
    public static let conflict = StatusCode(code: 409)
    public static let lengthRequired = StatusCode(code: 411)
    public static let preconditionFailed = StatusCode(code: 412)
    public static let contentTooLarge = StatusCode(code: 413)
    public static let uriTooLong = StatusCode(code: 414)
    public static let unsupportedMediaType = StatusCode(code: 415)
    public static let expectationFailed = StatusCode(code: 417)
    public static let misdirectedRequest = StatusCode(code: 421)
    public static let unprocessableContent = StatusCode(code: 422)
    public static let upgradeRequired = StatusCode(code: 426)
    public static let tooManyRequests = StatusCode(code: 429)
    public static let requestHeaderFieldsTooLarge = StatusCode(code: 431)
    public static let internalServerError = StatusCode(code: 500)
    public static let notImplemented = StatusCode(code: 501)
    public static let badGateway = StatusCode(code: 502)
    public static let serviceUnavailable = StatusCode(code: 503)
    public static let gatewayTimeout = StatusCode(code: 504)
    public static let httpVersionNotSupported = StatusCode(code: 505)
    public static let insufficientStorage = StatusCode(code: 507)

    /// The registered phrase; empty for a code without a name here, which RFC 9112 §4 allows.
    public var reasonPhrase: String {
        switch code {
        case 100: "Continue"
        case 200: "OK"
        case 201: "Created"
        case 204: "No Content"
        case 304: "Not Modified"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 406: "Not Acceptable"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 411: "Length Required"
        case 412: "Precondition Failed"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 415: "Unsupported Media Type"
        case 417: "Expectation Failed"
        case 421: "Misdirected Request"
        case 422: "Unprocessable Content"
        case 426: "Upgrade Required"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        case 507: "Insufficient Storage"
        default: ""
        }
    }

    /// Whether a response with this status can carry content at all. RFC 9110 §6.4.1: 1xx, 204 and 304 cannot.
    public var allowsContent: Bool {
        code >= 200 && code != 204 && code != 304
    }
}

extension StatusCode: CustomStringConvertible {
    public var description: String {
        reasonPhrase.isEmpty ? "\(code)" : "\(code) \(reasonPhrase)"
    }
}
