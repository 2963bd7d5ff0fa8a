internal import CLaunch

/// The environment of the command.
struct Environment {
    private(set) var variables: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private var count: Int
    /// How many entries `variables` has room for besides the final null pointer.
    private var capacity: Int

    init(_ variables: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) {
        self.variables = variables
        count = Words(variables).count
        capacity = count
    }

    /// The value of a variable; nil where it is not set.
    func value(of name: StaticString) -> CString? {
        guard let index = index(of: name.cString, length: name.utf8CodeUnitCount) else { return nil }
        return CString(variables[index]!) + name.utf8CodeUnitCount + 1
    }

    /// Converts systemd's environment to that of a shell's child in the service's account: `PATH` has the account's own
    /// directories, `PWD` is the working directory, and variables for the launcher are removed. Variables of the
    /// service's `env` are kept, except for a wrong `PWD`. `added` are further variables, and paths of files with
    /// variables; later ones win. Returns the failure of a file.
    mutating func prepare(keeping request: Request, adding added: Words?) -> Failure? {
        if !request.keeps("NOTIFY_SOCKET") { remove("NOTIFY_SOCKET") }
        // It identifies a stream that standard error is not connected to any more.
        if !request.keeps("JOURNAL_STREAM") { remove("JOURNAL_STREAM") }
        if case .credential = request.mode { remove("CREDENTIALS_DIRECTORY") }
        if !request.keeps("RUNTIME_DIRECTORY"), let directory = value(of: "RUNTIME_DIRECTORY"),
            CLaunch.strcmp(directory, request.runtimeDirectory) == 0
        {
            remove("RUNTIME_DIRECTORY")
        }
        if request.isStdioPiped { dropStoredPipes(keeping: request) }
        if !request.keeps("PATH") { extendPath() }
        if let added {
            for index in 0..<added.count {
                // No name of a variable begins with a slash.
                if added[index][0] == CChar(UInt8(ascii: "/")) {
                    if let failure = read(added[index]) { return failure }
                } else {
                    set(added.pointer[index]!)
                }
            }
        }
        setWorkingDirectory()
        return nil
    }

    /// Sets the variables of a file.
    private mutating func read(_ path: CString) -> Failure? {
        guard var file = EnvironmentFile(path) else { return Failure(.environmentFile, errno, path) }
        while let entry = file.next() { set(entry) }
        return nil
    }

    /// Closes the pipes of the previous run: systemd passes them from its descriptor store to every run, after the
    /// sockets of a socket unit: sd_listen_fds(3).
    private mutating func dropStoredPipes(keeping request: Request) {
        let isKept = request.keeps("LISTEN_FDS") || request.keeps("LISTEN_PID") || request.keeps("LISTEN_FDNAMES")
        guard !isKept, let names = value(of: "LISTEN_FDNAMES"), let counted = value(of: "LISTEN_FDS") else { return }
        let count = atoi(counted)
        var kept: CInt = 0
        var name = names
        while kept < count {
            let end = end(of: name, at: UInt8(ascii: ":"))
            let length = end - name
            let isPipe = length == Pipes.storeName.utf8CodeUnitCount && isPrefix(Pipes.storeName, of: name)
            if isPipe { break }
            kept += 1
            guard end.pointee != 0 else { break }
            name = end + 1
        }
        for descriptor in kept..<max(kept, count) { close(Self.firstPassedDescriptor + descriptor) }
        guard kept > 0 else {
            remove("LISTEN_FDS")
            remove("LISTEN_PID")
            return remove("LISTEN_FDNAMES")
        }
        var entry = Buffer(limit: 32)
        entry.append("LISTEN_FDS=")
        entry.append(number: kept)
        set(entry.start)
        // Cuts the list after the names that are kept.
        if kept < count { UnsafeMutablePointer(mutating: name)[-1] = 0 }
    }

    /// SD_LISTEN_FDS_START: sd_listen_fds(3).
    private static let firstPassedDescriptor: CInt = 3

    /// Adds the account's and snapd's directories of programs before and after the system's.
    private mutating func extendPath() {
        guard let path = value(of: "PATH"), path[0] != 0 else { return }
        // A directory with a colon in its name cannot be in PATH.
        let home = value(of: "HOME").flatMap { home in
            home[0] == CChar(UInt8(ascii: "/")) && Launch.end(of: home, at: UInt8(ascii: ":")).pointee == 0 ? home : nil
        }
        let homeLength = home.map { strlen($0) } ?? 0
        var entry = Buffer(limit: strlen(path) + 2 * homeLength + 64)
        entry.append("PATH=")
        if let home {
            for name: StaticString in ["/.local/bin", "/bin"] {
                var directory = Buffer(limit: homeLength + 16)
                // The home directory of root may be "/".
                if homeLength > 1 { directory.append(home) }
                directory.append(name)
                if !hasComponent(path, directory.text) {
                    entry.append(directory.text)
                    entry.append(":")
                }
            }
        }
        entry.append(path)
        if !hasComponent(path, ("/snap/bin" as StaticString).cString) { entry.append(":/snap/bin") }
        guard entry.isWhole else { return }
        set(UnsafeMutablePointer(mutating: entry.text))
    }

    /// Whether a colon-separated list of directories contains a directory.
    private func hasComponent(_ path: CString, _ directory: CString) -> Bool {
        let length = strlen(directory)
        var component = path
        while true {
            let end = end(of: component, at: UInt8(ascii: ":"))
            if end - component == length, strncmp(component, directory, length) == 0 { return true }
            guard end.pointee != 0 else { return false }
            component = end + 1
        }
    }

    /// Sets `PWD` as a shell does: POSIX.1-2024, Shell Command Language, 2.5.3. A correct value is kept.
    private mutating func setWorkingDirectory() {
        if let value = value(of: "PWD"), value[0] == CChar(UInt8(ascii: "/")), isWorkingDirectory(value) { return }
        var entry = Buffer(limit: Int(PATH_MAX) + 8)
        entry.append("PWD=")
        guard getcwd(entry.start + 4, Int(PATH_MAX)) != nil else { return }
        set(entry.start)
    }

    private func isWorkingDirectory(_ path: CString) -> Bool {
        var named = stat()
        var current = stat()
        return stat(path, &named) == 0 && stat(("." as StaticString).cString, &current) == 0
            && named.st_dev == current.st_dev && named.st_ino == current.st_ino
    }

    private func index(of name: CString, length: Int) -> Int? {
        for index in 0..<count {
            let entry = variables[index]!
            if strncmp(entry, name, length) == 0, entry[length] == CChar(UInt8(ascii: "=")) { return index }
        }
        return nil
    }

    private mutating func remove(_ name: StaticString) {
        guard let index = index(of: name.cString, length: name.utf8CodeUnitCount) else { return }
        count -= 1
        variables[index] = variables[count]
        variables[count] = nil
    }

    /// Sets "NAME=VALUE". Omitted when there is no memory for another entry.
    private mutating func set(_ entry: UnsafeMutablePointer<CChar>) {
        let length = end(of: CString(entry), at: UInt8(ascii: "=")) - CString(entry)
        if let index = index(of: CString(entry), length: length) {
            variables[index] = entry
            return
        }
        if count == capacity {
            // With room for the next ones.
            let more = count + 300
            guard let memory = malloc((more + 1) * MemoryLayout<UnsafeMutablePointer<CChar>?>.stride) else { return }
            let larger = memory.assumingMemoryBound(to: UnsafeMutablePointer<CChar>?.self)
            for index in 0..<count { larger[index] = variables[index] }
            variables = larger
            capacity = more
        }
        variables[count] = entry
        count += 1
        variables[count] = nil
    }
}
