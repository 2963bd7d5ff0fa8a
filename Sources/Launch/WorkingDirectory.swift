internal import CLaunch

/// The directory that the command runs in.
enum WorkingDirectory {
    /// Enters a directory, as the service's account. Nil when it is entered.
    ///
    /// systemd has already entered it if `WorkingDirectory=` can express it. With "-" it continues in "/" when it
    /// cannot, and only its own log has the reason. A directory of a drop-in is kept.
    static func enter(_ path: CString) -> Failure? {
        var root = stat()
        var current = stat()
        let isElsewhere =
            stat(("/" as StaticString).cString, &root) == 0 && stat(("." as StaticString).cString, &current) == 0
            && (root.st_dev != current.st_dev || root.st_ino != current.st_ino)
        // systemd enters it as root: the account may lack the permission.
        let target = isElsewhere ? ("." as StaticString).cString : path
        return chdir(target) == 0 ? nil : Failure(.directory, errno, path)
    }
}
