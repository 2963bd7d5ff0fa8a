import Foundation
import Glibc

/// Runs a program of the machine.
enum Tool {
    struct Result {
        let status: Int32
        /// Standard output and standard error.
        let output: String
    }

    /// Why a program could not be started.
    struct Failure: Error { let code: Int32 }

    static func run(_ path: String, _ arguments: [String]) throws -> Result {
        let file = FileManager.default.temporaryDirectory.appending(path: "miosa-agent-\(UUID().uuidString).output")
        defer {
            // What cannot be removed is left to the machine's own cleaning.
            try? FileManager.default.removeItem(at: file)
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, file.path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var words: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var environment: [UnsafeMutablePointer<CChar>?] = [strdup("PATH=/usr/bin:/bin"), strdup("LC_ALL=C.UTF-8"), nil]
        defer { for variable in environment { free(variable) } }
        var process: pid_t = 0
        let code = posix_spawn(&process, path, &actions, nil, &words, &environment)
        guard code == 0 else { throw Failure(code: code) }
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 { guard errno == EINTR else { throw Failure(code: errno) } }
        let output = String(decoding: try Data(contentsOf: file), as: UTF8.self)
        // The exit code, or the negative number of the signal: wait(2).
        return Result(status: status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F), output: output)
    }

    /// What systemd complains about in unit files, warnings included; nil when nothing.
    static func complaints(about units: [String: String]) throws -> String? {
        let result = try verify(units)
        return result.status == 0 && result.output.isEmpty ? nil : "status \(result.status): \(result.output)"
    }

    /// Has systemd load unit files as it would at a start. The status is zero when it takes all of each.
    static func verify(_ units: [String: String]) throws -> Result {
        let directory = FileManager.default.temporaryDirectory.appending(path: "miosa-agent-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
        defer {
            // What cannot be removed is left to the machine's own cleaning.
            try? FileManager.default.removeItem(at: directory)
        }
        var arguments = ["verify", "--man=no", "--recursive-errors=yes"]
        try Data("[Unit]\nDescription=Services\n".utf8).write(to: directory.appending(path: "miosa-services.slice"))
        for (name, text) in units.sorted(by: { $0.key < $1.key }) {
            let file = directory.appending(path: name)
            try Data(text.utf8).write(to: file)
            arguments.append(file.path)
        }
        return try run("/usr/bin/systemd-analyze", arguments)
    }
}
