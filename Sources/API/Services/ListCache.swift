internal import Services
internal import Synchronization

/// A cache of the last answer to a list request. It is valid as long as no service changes.
final class ListCache: Sendable {
    private struct Answer: Sendable {
        let services: [Service]
        let dialect: ClientDialect
        let encoding: Encoding
    }

    struct Encoding: Sendable {
        let bytes: [UInt8]
        let tag: EntityTag
    }

    private let last = Mutex<Answer?>(nil)

    /// The result of `encode`, from the cache when no service has changed. A result that is too long per service is not
    /// kept.
    func encoding(of services: [Service], _ dialect: ClientDialect, _ encode: () -> Encoding) -> Encoding {
        let kept: Encoding? = last.withLock { last in
            // Each change of a service makes a new object.
            guard let last, last.dialect == dialect, last.services.count == services.count,
                services.indices.allSatisfy({ last.services[$0] === services[$0] })
            else { return nil }
            return last.encoding
        }
        if let kept { return kept }
        let encoding = encode()
        let isLong = encoding.bytes.count > services.count * Service.keptEncodingBytesLimit
        last.withLock { $0 = isLong ? nil : Answer(services: services, dialect: dialect, encoding: encoding) }
        return encoding
    }
}
