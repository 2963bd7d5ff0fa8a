internal import API
internal import HTTP
internal import HTTPServer
internal import Services
internal import Supervisor
internal import Systemd

/// The daemon: puts the parts together, and takes them down again when a signal asks for it.
@EventLoopActor
final class Daemon {
    private let log: Log
    private let supervisor: Supervisor
    private let server: Server
    private var signals: [SignalWatch] = []
    private var isNotified = false

    init(_ configuration: ValidConfiguration, _ log: Log) throws(SystemError) {
        self.log = log
        weak var daemon: Daemon?
        let supervisor = try Supervisor(
            Supervisor.Configuration(layout: configuration.layout),
            report: { log.write($0) },
            statusChanged: { daemon?.tellStatus($0) }
        )
        self.supervisor = supervisor
        let api = API(
            API.Configuration(
                identity: configuration.identity,
                token: configuration.token,
                defaults: SpecDraft.Defaults(user: configuration.serviceUser)
            ),
            control: supervisor,
            makeRequestID: { Self.randomID() }
        )
        server = try Server(Self.handler(api, log))
        try listen(configuration)
        daemon = self
    }

    /// Runs the daemon on the loop until a signal ends it; gives back the exit status.
    static func run(_ configuration: ValidConfiguration, _ log: Log) throws(StartFailure) -> Int32 {
        do throws(SystemError) {
            let daemon = try Daemon(configuration, log)
            try daemon.start()
            return try withExtendedLifetime(daemon) { () throws(SystemError) in try EventLoop.shared.run() }
        } catch {
            throw StartFailure(reasons: [error.description])
        }
    }

    private func start() throws(SystemError) {
        for signal in [Signal.terminate, .interrupt] {
            signals.append(try SignalWatch(signal) { [weak self] in self?.stop() })
        }
        try supervisor.start()
        try EventLoop.shared.enableWatchdog()
    }

    /// Answers what is being answered, writes what is not on disk, and ends the loop. Services are not touched.
    private func stop() {
        Notifier.stopping()
        log.write(.info, "stopping; services go on")
        server.drain { [supervisor] in
            supervisor.finish()
            EventLoop.shared.exit(code: 0)
        }
    }

    private func tellStatus(_ summary: Supervisor.Summary) {
        let text = "\(summary.services) services: \(summary.running) running, \(summary.failed) failed"
        if isNotified {
            Notifier.status(text)
        } else {
            isNotified = true
            Notifier.ready(status: text)
            log.write(.info, "serving \(text)")
        }
    }

    // MARK: Sockets

    /// Listens on what systemd passed, and on what it did not pass and the configuration names.
    private func listen(_ configuration: ValidConfiguration) throws(SystemError) {
        var kinds: Set<ListeningSocket.Kind> = []
        for socket in try ListeningSocket.passed() {
            switch socket.kind {
            case .tcp where configuration.token == nil:
                log.write(.warning, "the TCP socket '\(socket.name)' is not served: there is no token")
            case .unix, .tcp:
                try server.listen(on: socket)
                kinds.insert(socket.kind)
            case .other: log.write(.warning, "the socket '\(socket.name)' is no listening stream socket; ignored")
            }
        }
        if !kinds.contains(.unix) { try server.listen(on: .open(configuration.socket)) }
        guard !kinds.contains(.tcp), !configuration.addresses.isEmpty else { return }
        guard configuration.token != nil else {
            log.write(.notice, "no TCP socket is opened: there is no token")
            return
        }
        for address in configuration.addresses {
            do throws(SystemError) {
                try server.listen(on: .open(address))
            } catch where error.isAddressUnavailable {
                // A machine without IPv6 has no [::1].
                log.write(.notice, "cannot listen on \(address): \(error.reason)")
            }
        }
    }

    // MARK: Requests

    private static func handler(_ api: API, _ log: Log) -> RequestHandler {
        RequestHandler(
            refuse: { head, peer in
                guard let reply = api.refusal(of: head, from: Caller(peer)) else { return nil }
                log.write(reply, head, .zero)
                return reply.response
            },
            respond: { request, peer in
                let begin = MonotonicClock.now()
                let reply = await api.respond(to: request, from: Caller(peer))
                log.write(reply, request.head, MonotonicClock.now().duration(since: begin))
                return reply.response
            },
            respondToFailure: { failure, _ in
                let reply = api.reply(to: failure)
                log.write(reply, nil, .zero)
                return reply.response
            }
        )
    }

    private nonisolated static func randomID() -> String {
        // The kernel's generator does not fail once the machine has booted; a request without an id can still be served.
        (try? Identifier.random().description) ?? "none"
    }
}

extension Caller {
    init(_ peer: Peer) {
        switch peer {
        case .unix(let credentials): self = .unix(uid: credentials.uid, pid: credentials.pid)
        case .tcp: self = .tcp
        }
    }
}

extension Log {
    /// A request and its answer. Neither body nor query nor header is in it: they can hold secrets.
    func write(_ reply: API.Reply, _ head: RequestHead?, _ duration: Duration) {
        let status = reply.response.status.code
        let method = head?.method.rawValue ?? "-"
        let path = head?.target.path ?? "-"
        var fields: [Field] = [
            ("MIOSA_REQUEST_ID", reply.requestID),
            ("MIOSA_METHOD", method),
            ("MIOSA_PATH", path),
            ("MIOSA_STATUS", String(status)),
            ("MIOSA_DURATION_USEC", String(Int(duration / .microseconds(1)))),
        ]
        if let service = reply.service { fields.append(("MIOSA_SERVICE", service)) }
        let isChange = head.map { $0.method != .get && $0.method != .head } ?? true
        write(status >= 500 ? .warning : isChange ? .info : .debug, "\(method) \(path) \(status)", fields)
    }

    func write(_ notice: Notice) {
        let priority: JournalWriter.Priority =
            switch notice.severity {
            case .information: .info
            case .warning: .warning
            case .error: .error
            }
        let prefix = notice.service.map { "service '\($0)': " } ?? ""
        write(priority, prefix + notice.text, notice.service.map { [("MIOSA_SERVICE", $0)] } ?? [])
    }
}
