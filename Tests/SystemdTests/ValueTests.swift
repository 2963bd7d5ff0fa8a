import CSystemd
import Glibc
import TestSupport
import Testing

@testable import Systemd

@Suite struct IdentifierTests {
    @Test func `ids of a sequence are random ones that differ`() throws {
        let sequences = try (0..<2).map { _ in try IdentifierSequence() }
        let ids = sequences.flatMap { sequence in (0..<2000).map { _ in sequence.next().description } }
        #expect(Set(ids).count == ids.count)
        for id in ids {
            let parts = id.split(separator: "-")
            #expect(parts.map(\.count) == [8, 4, 4, 4, 12])
            // RFC 9562: version 4, variant 10.
            #expect(parts[2].hasPrefix("4") && "89ab".contains(parts[3].prefix(1)))
        }
    }

    @Test func `an id prints as a UUID in lower case`() throws {
        let bytes: [UInt8] = [
            0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10,
        ]
        let id = try #require(Identifier(bytes: bytes))
        #expect(id.description == "01234567-89ab-cdef-fedc-ba9876543210")
        #expect(!id.isNull)
        var native = sd_id128_t()
        withUnsafeMutableBytes(of: &native) { $0.copyBytes(from: bytes) }
        #expect(Identifier(native) == id)
    }

    @Test func `sixteen zero bytes are the null id`() throws {
        let id = try #require(Identifier(bytes: [UInt8](repeating: 0, count: 16)))
        #expect(id.isNull)
        #expect(id.description == "00000000-0000-0000-0000-000000000000")
    }

    @Test(arguments: [0, 1, 15, 17, 32]) func `only sixteen bytes make an id`(count: Int) {
        #expect(Identifier(bytes: [UInt8](repeating: 1, count: count)) == nil)
    }

    @Test func `random ids are of version 4 and differ`() throws {
        var seen: Set<String> = []
        for _ in 0..<100 {
            let text = Array(try Identifier.random().description)
            #expect(text.count == 36)
            #expect(text[14] == "4")
            #expect("89ab".contains(text[19]))
            #expect(seen.insert(String(text)).inserted)
        }
    }

    @Test func `the boot's id is the kernel's`() throws {
        let directory = try Directory("/proc/sys/kernel/random")
        // The kernel gives the size of such files as zero.
        let file = open("/proc/sys/kernel/random/boot_id", O_RDONLY)
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = read(file, &buffer, buffer.count)
        #expect(try Identifier.boot().description == String(decoding: buffer[..<(count - 1)], as: UTF8.self))
        #expect(try directory.names().contains("boot_id"))
    }
}

@Suite struct LocalTimeTests {
    @Test func `a local time is a moment`() throws {
        // The same second, written by the C library in the zone of the machine.
        let moment = Int64(1_780_000_000)
        var seconds = time_t(moment)
        var parts = unsafe tm()
        unsafe localtime_r(&seconds, &parts)
        func padded(_ number: CInt) -> String { (number < 10 ? "0" : "") + String(number) }
        let date = unsafe "\(parts.tm_year + 1900)-\(padded(parts.tm_mon + 1))-\(padded(parts.tm_mday))"
        let time = unsafe "\(padded(parts.tm_hour)):\(padded(parts.tm_min)):\(padded(parts.tm_sec))"
        #expect(LocalTime.microseconds(date: date, time: time) == moment * 1_000_000)
    }

    @Test(arguments: ["", "2026", "2026-11", "2026-11-x", "2026--11", "2026-11-30-1"])
    func `another form is no date`(date: String) {
        #expect(LocalTime.microseconds(date: date, time: "01:02:03") == nil)
        #expect(LocalTime.microseconds(date: "2026-11-30", time: date) == nil)
    }
}

@Suite struct WallClockTests {
    @Test func `a stamp of the kernel is cut to microseconds`() {
        #expect(WallClock(timespec(tv_sec: 1, tv_nsec: 999_999_999)).microseconds == 1_999_999)
        #expect(WallClock(timespec(tv_sec: 0, tv_nsec: 999)).microseconds == 0)
    }

    @Test(arguments: [0, 1, 999_999, 1_000_000, 1_795_301_520_123_456] as [Int64])
    func `a moment becomes the kernel's form and comes back`(microseconds: Int64) {
        let moment = WallClock(microseconds: microseconds)
        #expect(WallClock(moment.timespec) == moment)
        #expect(moment.timespec.tv_nsec < 1_000_000_000)
        #expect(moment.advanced(byMicroseconds: 1) > moment)
        #expect(moment.advanced(byMicroseconds: 1).microseconds == microseconds + 1)
    }

    @Test func `the clocks go on`() {
        let wall = WallClock.now()
        // Later than this line was written.
        #expect(wall.microseconds > 1_700_000_000_000_000)
        let begin = MonotonicClock.now()
        let duration = MonotonicClock.now().duration(since: begin)
        #expect(duration >= .zero && duration < .seconds(60))
        #expect(begin.duration(since: begin) == .zero)
    }
}

@Suite struct CredentialsTests {
    private let temporary: TemporaryDirectory

    init() throws { temporary = try TemporaryDirectory() }

    private func text(_ bytes: [UInt8]) throws -> String? {
        try Directory(temporary.path).write("token", bytes, mode: 0o400)
        return try Credentials.text("token", directory: temporary.path)
    }

    @Test(arguments: [
        ("secret", "secret"), ("secret\n", "secret"), ("secret\n\n", "secret\n"), ("", ""), ("\n", ""),
        (" a \t", " a \t"),
        ("sé\r\n", "sé\r"),
    ])
    func `a credential is text without the last line end`(content: String, expected: String) throws {
        #expect(try text(Array(content.utf8))?.unicodeScalars.elementsEqual(expected.unicodeScalars) == true)
    }

    @Test func `what was not passed is nothing`() throws {
        #expect(try Credentials.text("token", directory: nil) == nil)
        #expect(try Credentials.text("token", directory: temporary.path) == nil)
        #expect(try Credentials.text("token", directory: temporary.path + "/absent") == nil)
    }

    @Test func `a credential that is no text is an error`() {
        let error = #expect(throws: SystemError.self) { try text([0x61, 0xFF]) }
        #expect(error?.code == EILSEQ)
    }

    @Test func `a credential of the limit is read and one byte more is an error`() throws {
        let longest = [UInt8](repeating: 0x61, count: Credentials.bytesLimit)
        #expect(try text(longest)?.utf8.count == Credentials.bytesLimit)
        let error = #expect(throws: SystemError.self) { try text(longest + [0x61]) }
        #expect(error?.code == EFBIG)
    }
}

@Suite struct SystemErrorTests {
    @Test func `an error names its call and the reason`() {
        let error = SystemError(call: "openat", code: ENOSPC)
        #expect(error.description == "openat: No space left on device")
        #expect(error.isStorageFull && !error.isNotFound && !error.wouldBlock)
    }

    @Test func `libsystemd's convention becomes an error`() throws {
        #expect(try check("f", 3) == 3)
        let error = #expect(throws: SystemError.self) { try check("f", -EBUSY) }
        #expect(error == SystemError(call: "f", code: EBUSY))
    }

    @Test func `libc's convention becomes an error and an interrupted call is made again`() throws {
        var calls = 0
        let result = try checkErrno("f") { () -> CInt in
            calls += 1
            guard calls == 3 else {
                errno = EINTR
                return -1
            }
            return 7
        }
        #expect(result == 7 && calls == 3)
        let error = #expect(throws: SystemError.self) {
            try checkErrno("f") { () -> CInt in
                errno = EACCES
                return -1
            }
        }
        #expect(error == SystemError(call: "f", code: EACCES))
    }

    @Test func `a descriptor that was closed by somebody else ends the process`() async {
        await #expect(processExitsWith: .failure) {
            var pair: [CInt] = [-1, -1]
            guard pipe(&pair) == 0 else { return }
            let descriptor = FileDescriptor(adopting: pair[0])
            close(pair[0])
            _ = consume descriptor
        }
    }
}
