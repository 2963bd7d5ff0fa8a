internal import CSystemd
internal import Glibc
internal import Synchronization

/// A 128-bit id of libsystemd, printed as an RFC 9562 UUID.
public struct Identifier: Hashable, Sendable, CustomStringConvertible {
    private let high: UInt64
    private let low: UInt64

    init(_ id: sd_id128_t) {
        var id = id
        (high, low) = unsafe withUnsafeBytes(of: &id) { bytes in
            unsafe (
                bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self).bigEndian,
                bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian
            )
        }
    }

    /// An id of 16 bytes as they come on D-Bus; nil for any other count.
    public init?(bytes: [UInt8]) {
        guard bytes.count == 16 else { return nil }
        high = bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) }
        low = bytes[8...].reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// A new random id, version 4: sd_id128_randomize(3).
    public static func random() throws(SystemError) -> Identifier {
        var id = sd_id128_t()
        try check("sd_id128_randomize", unsafe sd_id128_randomize(&id))
        return Identifier(id)
    }

    /// An id in either of the forms that sd_id128_from_string(3) takes; nil for any other text.
    public init?(_ text: String) {
        var id = sd_id128_t()
        guard unsafe sd_id128_from_string(text, &id) >= 0 else { return nil }
        self.init(id)
    }

    /// The id of this boot: sd_id128_get_boot(3).
    public static func boot() throws(SystemError) -> Identifier {
        var id = sd_id128_t()
        try check("sd_id128_get_boot", unsafe sd_id128_get_boot(&id))
        return Identifier(id)
    }

    /// The machine id hashed with the product's id, so that the machine id itself stays private. The result equals that
    /// of sd_id128_get_machine_app_specific(3), which before libsystemd 248 needs a kernel with AF_ALG.
    public static func machine(forApplication application: [16 of UInt8]) throws(SystemError) -> Identifier {
        var id = sd_id128_t()
        try check("sd_id128_get_machine", unsafe sd_id128_get_machine(&id))
        return Identifier(id).hashed(with: application.indices.map { application[$0] })
    }

    /// The first half of an HMAC of the application's id with this id as its key, as a UUID of version 4.
    func hashed(with application: [UInt8]) -> Identifier {
        let key = [high, low].flatMap { half in
            stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: half >> $0) }
        }
        var bytes = Array(SHA256.authenticationCode(application, key: key).prefix(16))
        bytes[6] = bytes[6] & 0x0f | 0x40
        bytes[8] = bytes[8] & 0x3f | 0x80
        return Identifier(bytes: bytes)!
    }

    /// Lower-case hexadecimal with hyphens, 36 characters.
    public var description: String {
        unsafe String(unsafeUninitializedCapacity: 36) { text in
            var end = 0
            for digit in 0..<32 {
                if digit == 8 || digit == 12 || digit == 16 || digit == 20 {
                    unsafe text[end] = UInt8(ascii: "-")
                    end += 1
                }
                let half = digit < 16 ? high : low
                let value = UInt8(truncatingIfNeeded: half >> UInt64(60 - digit % 16 * 4)) & 0xf
                unsafe text[end] = value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
                end += 1
            }
            return end
        }
    }

    /// Whether all bits are zero, which systemd uses for "none".
    public var isNull: Bool { high == 0 && low == 0 }
}

/// Unique ids without a system call for each, for values that need not be secret. They differ from those of any other
/// sequence.
public final class IdentifierSequence: Sendable {
    private let first: Identifier
    private let count = Atomic<UInt64>(0)

    /// Begins at a random id.
    public init() throws(SystemError) {
        first = try Identifier.random()
    }

    public func next() -> Identifier {
        let number = count.add(1, ordering: .relaxed).newValue
        return first.stepped(number)
    }
}

extension Identifier {
    /// The id at a distance of `number` steps, with version and variant kept. The step is an odd constant, so that
    /// consecutive ids look different and none repeats.
    fileprivate func stepped(_ number: UInt64) -> Identifier {
        let variant: UInt64 = 0xc000_0000_0000_0000
        let step = (low &+ number &* 0x9e37_79b9_7f4a_7c15) & ~variant
        return Identifier(high: high, low: low & variant | step)
    }

    private init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}
