internal import HTTPServer
internal import Systemd

/// Serves until it is killed.
func run() -> Int32 {
    let arguments = CommandLine.arguments.dropFirst()
    guard arguments.count == 1, let address = arguments.first.flatMap({ SocketAddress(ip: "127.0.0.1:\($0)") }) else {
        ProcessContext.write("Usage: http-echo PORT", toStandardError: true)
        return 2
    }
    Signal.ignorePipe()
    EventLoop.shared.adoptThread()
    return EventLoopActor.assumeIsolated {
        do throws(SystemError) {
            let server = try Server(Echo.handler)
            try server.listen(on: .open(address))
            return try withExtendedLifetime(server) { () throws(SystemError) in try EventLoop.shared.run() }
        } catch {
            ProcessContext.write("http-echo: \(error)", toStandardError: true)
            return 1
        }
    }
}

ProcessContext.exit(run())
