/// The 64-bit FNV-1a hash: the same for the same bytes in every process, and not safe against bytes that are chosen for
/// it.
public enum FNV1a {
    /// The offset basis: the hash of no bytes.
    public static let start: UInt64 = 0xcbf2_9ce4_8422_2325

    /// The hash of bytes that follow those of `start`.
    public static func hash(_ bytes: some Sequence<UInt8>, from start: UInt64 = start) -> UInt64 {
        bytes.reduce(start) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}
