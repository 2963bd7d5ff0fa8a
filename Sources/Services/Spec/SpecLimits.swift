/// The sizes and counts that a spec may have. What systemd can carry is more than each of them (a line of a unit file
/// 1 MiB, an argument or environment string 128 KiB).
public enum SpecLimits {
    public static let commandBytesLimit = 64 * 1024
    public static let environmentCountLimit = 256
    /// The longest value of one variable.
    public static let environmentValueBytesLimit = 64 * 1024
    /// The longest name of one variable.
    public static let environmentNameBytesLimit = 1024
    /// All names and values together.
    public static let environmentBytesLimit = 128 * 1024
    /// PATH_MAX without its final NUL.
    public static let workingDirectoryBytesLimit = 4095
    public static let portRange = 1...65535
    /// The longest account name that useradd(8) makes.
    public static let userBytesLimit = 32
}
