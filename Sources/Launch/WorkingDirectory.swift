internal import CLaunch

/// The directory that the command runs in.
enum WorkingDirectory {
    /// Enters a directory, as the service's account. Nil when it is entered.
    ///
    /// systemd has entered it already where `WorkingDirectory=` can name it; "-" there has it go on in "/" when it
    /// cannot, for a reason that only its log has. A directory that a drop-in for the unit names stays.
    static func enter(_ path: CString) -> Failure? {
        var root = stat()
        var current = stat()
        let isElsewhere =
            stat(("/" as StaticString).cString, &root) == 0 && stat(("." as StaticString).cString, &current) == 0
            && (root.st_dev != current.st_dev || root.st_ino != current.st_ino)
        // systemd enters it as root: whether the account may is another question.
        let target = isElsewhere ? ("." as StaticString).cString : path
        return chdir(target) == 0 ? nil : Failure(.directory, errno, path)
    }
}
