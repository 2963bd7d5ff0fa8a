internal import API
internal import ServiceManager
internal import Services
internal import Systemd

/// A validated configuration, with typed values.
struct ValidConfiguration {
    let addresses: [SocketAddress]
    let socket: SocketAddress
    let layout: StateLayout
    let serviceUser: String
    let group: String
    let logLevel: JournalWriter.Priority
    let identity: Identity
    let token: BearerToken?

    /// The longest path in a sockaddr_un: unix(7).
    static let socketPathLengthLimit = 107

    /// The longest computer or tenant id.
    static let idLengthLimit = 128

    /// Checks every setting; throws all errors together. `machineID` is the default of the computer id; nil when the
    /// machine has no id.
    init(_ configuration: Configuration, machineID: String?) throws(Configuration.Problems) {
        var problems: [String] = []
        func problem(_ setting: Configuration.Setting, _ reason: String) {
            problems.append("\(setting.source): \(reason)")
        }

        let listen = configuration.listen
        var addresses: [SocketAddress] = []
        for word in listen.value.split(separator: " ") {
            if let address = SocketAddress(ip: String(word)) {
                addresses.append(address)
            } else {
                problem(listen, "'\(word)' is not of the form 127.0.0.1:2088 or [::1]:2088")
            }
        }
        for path in [configuration.socket, configuration.unitDirectory, configuration.stateDirectory]
        where !path.value.hasPrefix("/") || path.value.contains(where: \.isNewline) {
            problem(path, "'\(path.value)' is not an absolute path")
        }
        if configuration.socket.value.utf8.count > Self.socketPathLengthLimit {
            let path = configuration.socket.value
            problem(configuration.socket, "'\(path)' is longer than \(Self.socketPathLengthLimit) bytes")
        }
        if let reason = AccountName.problem(in: configuration.serviceUser.value) {
            problem(configuration.serviceUser, "'\(configuration.serviceUser.value)': the account name \(reason)")
        }
        if let reason = AccountName.problem(in: configuration.group.value) {
            problem(configuration.group, "'\(configuration.group.value)': the group's name \(reason)")
        }
        let logLevel = JournalWriter.Priority(name: configuration.logLevel.value)
        if logLevel == nil { problem(configuration.logLevel, "'\(configuration.logLevel.value)' is no log level") }
        for id in [configuration.computerID, configuration.tenantID].compactMap({ $0 }) where !Self.isID(id.value) {
            problem(id, "'\(id.value)': an id is 1 to \(Self.idLengthLimit) letters, digits, '-', '_', '.' and ':'")
        }
        let token = configuration.token.flatMap { BearerToken($0.value) }
        if let setting = configuration.token, token == nil {
            // The value itself is a secret and stays out of messages.
            problem(
                setting,
                "a token is \(BearerToken.shortestBytes) to \(BearerToken.bytesLimit) characters of RFC 6750"
            )
        }
        let computerID = configuration.computerID?.value ?? machineID
        if computerID == nil { problems.append("there is neither a computer id nor a machine id to make one from") }
        guard problems.isEmpty, let computerID, let logLevel else { throw Configuration.Problems(all: problems) }

        self.addresses = addresses
        socket = .unix(path: configuration.socket.value)
        layout = StateLayout(
            stateDirectory: Self.withoutFinalSlash(configuration.stateDirectory.value),
            unitDirectory: Self.withoutFinalSlash(configuration.unitDirectory.value)
        )
        serviceUser = configuration.serviceUser.value
        group = configuration.group.value
        self.logLevel = logLevel
        identity = Identity(computerID: computerID, tenantID: configuration.tenantID?.value)
        self.token = token
    }

    private static func isID(_ text: String) -> Bool {
        (1...idLengthLimit).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "-_.:".utf8.contains(byte)
                }
            }
    }

    private static func withoutFinalSlash(_ path: String) -> String {
        path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    }
}
