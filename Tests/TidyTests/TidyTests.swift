import Foundation
import Testing

/// The rules of the house that no compiler checks, held against the text of the sources.
struct TidyTests {
    /// What each target may import. Package.swift says the same to the compiler, which does not see an import of a module
    /// that another target makes reachable.
    static let imports: [String: Set<String>] = [
        "JSON": [],
        "HTTP": [],
        "Services": ["JSON", "Synchronization"],
        "Systemd": ["CSystemd", "Glibc", "Synchronization"],
        "HTTPServer": ["HTTP", "Systemd"],
        "ServiceManager": ["JSON", "Services", "Systemd"],
        "API": ["HTTP", "JSON", "Services", "Synchronization"],
        "EnvironmentText": [],
        "miosa-agent": [
            "API", "EnvironmentText", "HTTP", "HTTPServer", "JSON", "Services", "ServiceManager", "Systemd",
        ],
        "http-echo": ["HTTP", "HTTPServer", "Systemd"],
        "Launch": ["CLaunch", "EnvironmentText"],
    ]

    @Test func `every import is one that the target may have`() throws {
        for file in try SourceTree.files(below: "Sources", suffix: ".swift") {
            let target = file.path.split(separator: "/")[1]
            let allowed = try #require(Self.imports[String(target)], "\(file.path): no such target in the table")
            for line in file.lines {
                let words = line.trimmingCharacters(in: .whitespaces).split(separator: " ").map(String.init)
                guard let position = words.firstIndex(of: "import"), position <= 1, words.count == position + 2 else {
                    continue
                }
                #expect(allowed.contains(words[position + 1]), "\(file.path): \(line)")
            }
        }
    }

    @Test func `the table has every target`() throws {
        let folders = try FileManager.default.contentsOfDirectory(atPath: SourceTree.root + "/Sources")
        #expect(
            Set(folders).subtracting(["ARCHITECTURE.md", "SECURITY.md", "CLaunch", "CSystemd"])
                == Set(Self.imports.keys)
        )
    }

    @Test func `the tests that hold promises are there`() throws {
        let page = try String(contentsOfFile: SourceTree.root + "/Sources/SECURITY.md", encoding: .utf8)
        let promises = try #require(
            page.components(separatedBy: "## What is promised").last?.components(separatedBy: "## ").first
        )
        let tests = promises.matches(of: /`([\w\/]*(test_\w+\.py|Tests\/[\w\/.]+))`/).map { String($0.1) }
        #expect(tests.count > 10)
        for test in tests {
            let path = test.hasPrefix("Tests/") ? test : "Tests/Integration/\(test)"
            #expect(FileManager.default.fileExists(atPath: "\(SourceTree.root)/\(path)"), "\(test)")
        }
    }

    @Test func `unsafe code is in Systemd and nowhere else`() throws {
        for file in try SourceTree.files(below: "Sources", suffix: ".swift") where !file.path.contains("/Systemd/") {
            for line in file.code {
                #expect(!line.contains("unsafe"), "\(file.path): \(line)")
                #expect(!line.contains("OpaquePointer"), "\(file.path): \(line)")
            }
        }
    }

    @Test(arguments: [
        "Task.sleep", "Task.detached", "Task {", "DispatchQueue", "Thread(", "usleep(", "sleep(", "try!", "fatalError(",
        "print(",
    ])
    func `a banned call is not made`(call: String) throws {
        for file in try SourceTree.files(below: "Sources", suffix: ".swift") {
            for line in file.code { #expect(!SourceTree.calls(call, in: line), "\(file.path): \(line)") }
        }
    }

    @Test func `nothing is left for later`() throws {
        let markers = ["TO" + "DO", "FIX" + "ME", "XX" + "X:", "HA" + "CK"]
        for folder in ["Sources", "Tests", "packaging", "scripts", "systemd"] {
            for file in try SourceTree.files(below: folder, suffix: "") {
                for line in file.lines {
                    for marker in markers { #expect(!line.contains(marker), "\(file.path): \(line)") }
                }
            }
        }
    }

    @Test func `no line is longer than a reader's window`() throws {
        // Tests may quote what they are about in one piece; JSON cannot break a string, nor Markdown a row of a table.
        for folder in ["Sources", "packaging", "scripts", "systemd"] {
            for file in try SourceTree.files(below: folder, suffix: "") where !file.path.hasSuffix(".json") {
                for line in file.lines where !(file.path.hasSuffix(".md") && line.hasPrefix("|")) {
                    #expect(line.count <= 120, "\(file.path): \(line)")
                }
            }
        }
    }

    @Test func `the version is the same wherever it is written`() throws {
        // The package takes it from the first.
        let places = [
            ("Sources/miosa-agent/Version.swift", #"static let text = "([^"]+)""#),
            ("Sources/API/openapi.json", #"^ +"version": "([^"]+)","#),
            ("CHANGELOG.md", #"^## ([^ ]+) "#),
            ("packaging/rpm/miosa-agent.spec", #"^Version: +([^ ]+)$"#),
        ]
        var versions: Set<Substring> = []
        for (path, pattern) in places {
            let text = try String(contentsOfFile: "\(SourceTree.root)/\(path)", encoding: .utf8)
            // The newest one is the first in a changelog.
            let match = text.firstMatch(of: try Regex<(Substring, Substring)>(pattern).anchorsMatchLineEndings())
            versions.insert(try #require(match?.output.1, "\(path) has no version"))
        }
        #expect(versions.count == 1, "\(versions)")
    }

    @Test func `a type has a file of its name`() throws {
        for file in try SourceTree.files(below: "Sources", suffix: ".swift") {
            let name = String(file.path.split(separator: "/").last!.dropLast(".swift".count))
            guard name != "main" else { continue }
            let declares = file.lines.contains { line in
                ["struct ", "class ", "enum ", "actor ", "protocol ", "extension "].contains { keyword in
                    line.contains(keyword + name)
                }
            }
            let isExtension = file.lines.contains { $0.hasPrefix("extension ") }
            #expect(declares || isExtension, "\(file.path) declares no \(name)")
        }
    }
}

/// The text of this repository.
enum SourceTree {
    struct File {
        let path: String
        let lines: [String]

        /// The lines without comments.
        var code: [String] {
            lines.filter { !$0.trimmingCharacters(in: .whitespaces).hasPrefix("//") }
        }
    }

    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path(percentEncoded: false).trimmingSuffix("/")

    static func files(below folder: String, suffix: String) throws -> [File] {
        let paths = try FileManager.default.subpathsOfDirectory(atPath: "\(root)/\(folder)").sorted()
        return paths.filter { $0.hasSuffix(suffix) && !$0.contains("__pycache__") }.compactMap { path in
            guard let text = try? String(contentsOfFile: "\(root)/\(folder)/\(path)", encoding: .utf8) else {
                return nil
            }
            return File(path: "\(folder)/\(path)", lines: text.components(separatedBy: "\n"))
        }
    }

    /// Whether a line calls it, and not something whose name only ends like it.
    static func calls(_ name: String, in line: String) -> Bool {
        guard let range = line.range(of: name) else { return false }
        guard let before = line[..<range.lowerBound].last else { return true }
        return !before.isLetter && before != "." && before != "_"
    }
}

extension String {
    fileprivate func trimmingSuffix(_ suffix: String) -> String {
        hasSuffix(suffix) ? String(dropLast(suffix.count)) : self
    }
}
