import Foundation
import TestSupport
import Testing

@testable import Systemd

struct PasswdTests {
    private static let text = """
        root:x:0:0:root:/root:/bin/bash
        alice:x:1000:1000:Alice,,,:/home/alice:/bin/bash
        toor:x:1000:0::/:/bin/sh
        # a comment
        +::::::
        short:x:1001
        none::x:1:::
        minus:x:-1:0::/:
        big:x:4294967296:0::/:
        largest:x:4294967295:0::/:
        nohome:x:7:7:::
        """

    @Test @EventLoopActor func `the first line of a uid is its account`() throws {
        let entries = Passwd.parse(Array(Self.text.utf8))
        #expect(entries[0] == Passwd.Entry(name: "root", home: "/root"))
        #expect(entries[1000] == Passwd.Entry(name: "alice", home: "/home/alice"))
        #expect(entries[7] == Passwd.Entry(name: "nohome", home: ""))
        #expect(entries[.max]?.name == "largest")
        #expect(entries.count == 4)
    }

    @Test @EventLoopActor func `a file that is replaced, changed or removed is read again`() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/passwd"
        let passwd = Passwd(path: path)
        #expect(passwd.entry(of: 0) == nil)
        try Data("a:x:1:1:::\n".utf8).write(to: URL(filePath: path))
        #expect(passwd.entry(of: 1)?.name == "a")
        try Data("b:x:1:1:::\n".utf8).write(to: URL(filePath: path), options: .atomic)
        #expect(passwd.entry(of: 1)?.name == "b")
        try FileManager.default.removeItem(atPath: path)
        #expect(passwd.entry(of: 1) == nil)
    }
}
