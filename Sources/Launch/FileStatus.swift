internal import CLaunch

/// The type of a file: inode(7), "The file type and mode".
extension stat {
    var isRegular: Bool { CInt(bitPattern: st_mode) & S_IFMT == S_IFREG }

    var isDirectory: Bool { CInt(bitPattern: st_mode) & S_IFMT == S_IFDIR }

    var isSocket: Bool { CInt(bitPattern: st_mode) & S_IFMT == S_IFSOCK }

    /// Whether it is /dev/null: mem(4).
    var isNull: Bool { CInt(bitPattern: st_mode) & S_IFMT == S_IFCHR && st_rdev == gnu_dev_makedev(1, 3) }
}
