import EnvironmentText
import Foundation
import Testing

@testable import Launch

/// The file of variables, as the launcher reads it.
@Suite struct LaunchFilesTests {
    private static func variables(_ bytes: [UInt8]) throws -> [String]? {
        let path = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data(bytes).write(to: URL(filePath: path))
        return path.withCString { path in
            guard var file = Launch.EnvironmentFile(path) else { return nil }
            var variables: [String] = []
            while let entry = file.next() { variables.append(String(cString: entry)) }
            return variables
        }
    }

    /// systemd.exec(5), `EnvironmentFile=`, with what is beyond it at the end.
    @Test(arguments: [
        ("", []), ("\n\n", []), ("A=b", ["A=b"]), ("A=b\n", ["A=b"]), ("A=b\r\nC=d\r\n", ["A=b", "C=d"]),
        ("A=", ["A="]), ("A=\nB=\n", ["A=", "B="]), ("  A = b c \t\n", ["A=b c"]), ("A=b=c\n", ["A=b=c"]),
        ("# A=b\n; C=d\nE=f # g\n", ["E=f # g"]), ("# a \\\nB=c\n", ["B=c"]),
        ("A=\"b  c\" d\n", ["A=b  cd"]), ("A='b\\' \"c\"\n", ["A=b\\c"]), ("A=b\"c\"\n", ["A=b\"c\""]),
        ("A=\"\\\"\\\\\\`\\$\\n\"\n", ["A=\"\\`$\\n"]), ("A=\"b\\\nc\nd\"\n", ["A=bc\nd"]),
        ("A='b\nc'\n", ["A=b\nc"]), ("A=b\\\n  c\n", ["A=b  c"]), ("A=\\ b\\ \n", ["A= b "]), ("A=\\'b\n", ["A='b"]),
        ("A=\"b", ["A=b"]), ("A='b\\", ["A=b\\"]), ("A=b\\", ["A=b"]), ("A=b \\\n", ["A=b "]),
        ("A=é\u{1F389}\n", ["A=é\u{1F389}"]), ("A=b\nA=c\n", ["A=b", "A=c"]),
        ("no assignment\nA=b\n", ["A=b"]), ("1A=b\nA-B=c\nA B=c\n=d\nE=f\n", ["E=f"]),
        ("export A=b\n export\tC = d\nexport=e\nexportF=g\nexport 1=2\n", ["A=b", "C=d", "export=e", "exportF=g"]),
        ("\u{FEFF}A=b\nC=d\n", ["C=d"]),
    ])
    func `variables are what systemd makes of a file, and export is skipped`(text: String, variables: [String]) throws {
        #expect(try Self.variables(Array(text.utf8)) == variables)
    }

    @Test func `a file is at most 1 MiB long and has no NUL`() throws {
        let limit = 1024 * 1024
        let longest = Array("A=".utf8) + [UInt8](repeating: UInt8(ascii: "x"), count: limit - 2)
        #expect(try Self.variables(longest)?.map(\.utf8.count) == [limit])
        #expect(try Self.variables(longest + [UInt8(ascii: "x")]) == nil)
        #expect(try Self.variables(Array("A=b\0\n".utf8)) == nil)
        #expect("/etc".withCString { Launch.EnvironmentFile($0) == nil })
        #expect("/dev/null".withCString { Launch.EnvironmentFile($0) != nil })
        #expect("/dev/zero".withCString { Launch.EnvironmentFile($0) == nil })
    }
}

/// The text of a file of variables, as systemd 252 and 257 read it: `systemctl show-environment` and a service's
/// environment show the same.
@Suite struct EnvironmentTextTests {
    private static func lines(_ text: String, _ rules: EnvironmentText.Rules) -> [String] {
        var text = EnvironmentText(Array(text.utf8), rules)
        var lines: [String] = []
        while let line = text.next() {
            switch line {
            case .variable(let name, let value):
                lines.append("\(String(decoding: name, as: UTF8.self))=\(String(decoding: value, as: UTF8.self))")
            case .other(let number): lines.append("line \(number)")
            }
        }
        return lines
    }

    @Test(arguments: [
        ("A=1\nB=2\n", ["A=1", "B=2"]), ("A=1", ["A=1"]), ("\n\n  A = 1  \n", ["A=1"]), ("A=\n", ["A="]),
        ("# A=1\n;B=2\nC=3\n", ["C=3"]), ("A='x y'\n", ["A=x y"]), ("A=\"x y\" \n", ["A=x y"]),
        ("A=\"a\\\"b\\\\c\\d\"\n", [#"A=a"b\c\d"#]), ("A=a\\\nb\n", ["A=ab"]), ("A=a\\ b\\n\n", ["A=a bn"]),
        ("A='a'\"b\"c\n", ["A=abc"]), ("A=a'b'\n", ["A=a'b'"]), ("A=x # y\n", ["A=x # y"]),
        ("A='line\nline'\n", ["A=line\nline"]), ("A=\"line\\\nline\"\n", ["A=lineline"]),
        ("nothing\nA=1\n", ["line 1", "A=1"]), ("1A=1\nA-B=2\nA=3\n", ["line 1", "line 2", "A=3"]),
        ("export A=1\n", ["line 1"]), ("A=x\r\n", ["A=x"]), ("A=x\rB=y", ["A=x", "B=y"]), ("", []),
        ("A='x\ny'\nB\n", ["A=x\ny", "line 3"]), ("\n\nB", ["line 3"]),
    ])
    func `a text is read as systemd reads it`(text: String, lines: [String]) {
        #expect(Self.lines(text, .init()) == lines)
    }

    @Test func `what readers differ in is a rule`() {
        #expect(Self.lines("# a \\\nA=1\nB=2", .init()) == ["A=1", "B=2"])
        #expect(Self.lines("# a \\\nA=1\nB=2", .init(continuesComments: true)) == ["B=2"])
        #expect(Self.lines("# a \\\\\nA=1", .init(continuesComments: true)) == ["A=1"])
        #expect(
            Self.lines("export A=1\n export\tB = 2\nexport=3\nexport", .init(skipsExport: true))
                == ["A=1", "B=2", "export=3", "line 4"]
        )
    }
}

/// The delay of automatic restarts, in milliseconds and seconds.
@Suite struct RestartDelayTests {
    private static func next(_ count: Int, begin: Int, end: Int, now: Int, _ limit: Int = 8) -> [Int] {
        let next = RestartDelay.next(after: .init(count: count, begin: begin, end: end), at: now, 2, limit)
        return [next.count, next.wait]
    }

    @Test func `the delay doubles up to the maximum`() {
        let first = RestartDelay.next(after: nil, at: 7, 2, 8)
        #expect(first.count == 0 && first.wait == 0)
        let waits = (0..<6).map { Self.next($0, begin: 1000, end: 2000, now: 4000) }
        let expected: [[Int]] = [[1, 0], [2, 2], [3, 6], [4, 6], [5, 6], [6, 6]]
        #expect(waits == expected)
        #expect(Self.next(64, begin: 1000, end: 2000, now: 4000, 3600) == [65, 3598])
        #expect(Self.next(3, begin: 1000, end: 2000, now: 4000, 2) == [4, 0])
    }

    @Test(arguments: [(8, 60_000), (60, 60_000), (300, 300_000)])
    func `a run of 60 s, or of a longer maximum, begins anew`(limit: Int, steady: Int) {
        #expect(Self.next(3, begin: 1000, end: 1000 + steady, now: 3000 + steady, limit) == [1, 0])
        #expect(Self.next(3, begin: 1000, end: 999 + steady, now: 3000 + steady, limit)[0] == 4)
    }

    @Test func `a start that comes sooner than systemd restarts was requested`() {
        #expect(Self.next(3, begin: 1000, end: 2000, now: 3999) == [0, 0])
        #expect(Self.next(3, begin: 1000, end: 2000, now: 4000) == [4, 6])
    }

    @Test func `an end that was not noted was that long ago`() {
        #expect(Self.next(3, begin: 1000, end: 0, now: 5000) == [4, 6])
        #expect(Self.next(3, begin: 1000, end: 0, now: 63_000) == [1, 0])
    }
}
