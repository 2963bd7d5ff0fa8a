/// The protocol versions that are spoken. RFC 9110 §2.5: a higher minor version of HTTP/1 is treated as 1.1.
public enum HTTPVersion: Hashable, Sendable {
    case http10
    case http11
}
