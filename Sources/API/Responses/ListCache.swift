internal import Services
internal import Synchronization

/// The list of all services as it was answered last: as long as none of them changes, the next answer is the same.
final class ListCache: Sendable {
    private struct Answer: Sendable {
        let services: [Service]
        let dialect: ClientDialect
        let encoding: [UInt8]
    }

    private let last = Mutex<Answer?>(nil)

    /// What `encode` makes of the services, kept where it is not long for so many.
    func encoding(of services: [Service], _ dialect: ClientDialect, _ encode: () -> [UInt8]) -> [UInt8] {
        let kept: [UInt8]? = last.withLock { last in
            // A service that changes is another object.
            guard let last, last.dialect == dialect, last.services.count == services.count,
                services.indices.allSatisfy({ last.services[$0] === services[$0] })
            else { return nil }
            return last.encoding
        }
        if let kept { return kept }
        let encoding = encode()
        let isLong = encoding.count > services.count * Service.keptEncodingBytesLimit
        last.withLock { $0 = isLong ? nil : Answer(services: services, dialect: dialect, encoding: encoding) }
        return encoding
    }
}
