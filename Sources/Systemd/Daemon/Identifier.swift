internal import CSystemd
internal import Glibc

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

    /// This machine's id hashed with the product's, so that the machine id itself stays private:
    /// sd_id128_get_machine_app_specific(3).
    public static func machine(forApplication application: [16 of UInt8]) throws(SystemError) -> Identifier {
        var id = sd_id128_t()
        var key = sd_id128_t()
        unsafe withUnsafeMutableBytes(of: &key) { bytes in
            for index in application.indices { unsafe bytes[index] = application[index] }
        }
        try check("sd_id128_get_machine_app_specific", unsafe sd_id128_get_machine_app_specific(key, &id))
        return Identifier(id)
    }

    /// Lower-case hexadecimal with hyphens, 36 characters.
    public var description: String {
        let digits = Array("0123456789abcdef")
        var text = ""
        for (index, half) in [high, low].enumerated() {
            for shift in stride(from: 60, through: 0, by: -4) {
                text.append(digits[Int(half >> UInt64(shift) & 0xf)])
                let written = index * 16 + (64 - shift) / 4
                if [8, 12, 16, 20].contains(written) { text.append("-") }
            }
        }
        return text
    }

    /// Whether all bits are zero, which systemd uses for "none".
    public var isNull: Bool { high == 0 && low == 0 }
}
