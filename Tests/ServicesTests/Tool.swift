import Foundation

/// Runs a program of the machine.
enum Tool {
    struct Result {
        let status: Int32
        /// Standard output and standard error.
        let output: String
    }

    static func run(_ path: String, _ arguments: [String]) throws -> Result {
        let process = Process()
        process.executableURL = URL(filePath: path)
        process.arguments = arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return Result(status: process.terminationStatus, output: String(decoding: output, as: UTF8.self))
    }

    /// Has systemd load unit files as it would at a start; gives back what it complains about, nil when nothing.
    static func complaints(about units: [String: String]) throws -> String? {
        let directory = FileManager.default.temporaryDirectory.appending(path: "miosa-agent-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
        defer {
            // What cannot be removed is left to the machine's own cleaning.
            try? FileManager.default.removeItem(at: directory)
        }
        var arguments = ["verify", "--man=no", "--recursive-errors=yes"]
        // The slice and the account are the product's and the machine's.
        try Data("[Unit]\nDescription=Services\n".utf8).write(to: directory.appending(path: "miosa-services.slice"))
        for (name, text) in units.sorted(by: { $0.key < $1.key }) {
            let file = directory.appending(path: name)
            try Data(text.utf8).write(to: file)
            arguments.append(file.path)
        }
        let result = try run("/usr/bin/systemd-analyze", arguments)
        return result.status == 0 && result.output.isEmpty ? nil : "status \(result.status): \(result.output)"
    }
}
