internal import CFuzzer

/// libFuzzer: it makes up inputs and goes on from those that reached code that no other had.
package enum Fuzzer {
    /// What is called with each input. Set before the first one, and libFuzzer has one thread.
    private nonisolated(unsafe) static var property: ([UInt8]) -> Void = { _ in }

    /// Does what the command line says, without options to call `property` with inputs for ever, and returns the exit
    /// status.
    package static func run(_ property: @escaping ([UInt8]) -> Void) -> CInt {
        Self.property = property
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        return LLVMFuzzerRunDriver(&count, &arguments) { start, count in
            Fuzzer.property(Array(UnsafeBufferPointer(start: start, count: count)))
            return 0
        }
    }
}
