/// Limits of a spec. The limits of systemd are higher: 1 MiB for a line of a unit file, 128 KiB for an argument or
/// environment string.
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
