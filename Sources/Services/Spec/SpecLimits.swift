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
    public static let portRange = 1...65535
    /// The longest account name that useradd(8) makes.
    public static let userBytesLimit = 32
    public static let descriptionBytesLimit = 256
    /// Seconds, as the two after it.
    public static let startTimeoutRange = 1...3600
    public static let stopTimeoutRange = 0...3600
    public static let restartDelayRange = 0...3600
    public static let restartDelayLimitRange = 1...3600
    /// The starts within a time, beyond which systemd gives up.
    public static let restartStartsRange = 1...1000
    public static let restartWithinRange = 1...86_400
    public static let memoryRange = 1_048_576...1 << 50
    /// Hundredths of a processor.
    public static let cpuRange = 1...102_400
    /// PID_MAX_LIMIT of a 64-bit kernel.
    public static let tasksRange = 1...4_194_304
    /// The default of the sysctl fs.nr_open.
    public static let openFilesRange = 1...1_048_576
    /// The number of paths in one field.
    public static let pathsCountLimit = 32
    /// The number of commands in one field.
    public static let stepsCountLimit = 8
    /// The commands of a spec together. They share one credential of 1 MiB with the environment.
    public static let commandsBytesLimit = 512 * 1024
    /// PATH_MAX without its final NUL.
    public static let pathBytesLimit = 4095
    public static let logRateRange = 1...1_000_000
    public static let labelsCountLimit = 32
    public static let labelKeyBytesLimit = 63
    public static let labelValueBytesLimit = 256
}
