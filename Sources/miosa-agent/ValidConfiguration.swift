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
    /// The accounts that services may run as; nil for any.
    let allowedUsers: [String]?
    let hosts: [String]
    let logLevel: JournalWriter.Priority
    let computer: ComputerIdentity
    /// The identities of clients, and why files of tokens are refused.
    let identities: Identities
    let tokenProblems: [String]

    /// The longest path in a sockaddr_un: unix(7).
    static let socketPathLengthLimit = 107

    /// The longest computer or tenant id.
    static let idLengthLimit = 128

    /// Checks every setting; throws all errors together. `machineID` is the default of the computer id; nil when the
    /// machine has no id.
    init(
        _ configuration: Configuration,
        tokenFiles: TokenFiles = TokenFiles(),
        machineID: String?
    ) throws(Configuration.Problems) {
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
        let allowedUsers = configuration.allowedUsers.value.split(separator: " ").map(String.init)
        for user in allowedUsers {
            if let reason = AccountName.problem(in: user) {
                problem(configuration.allowedUsers, "'\(user)': the account name \(reason)")
            }
        }
        if allowedUsers.count > Self.allowedUsersLimit {
            problem(configuration.allowedUsers, "there are more than \(Self.allowedUsersLimit) accounts")
        }
        if !allowedUsers.isEmpty, !allowedUsers.contains(configuration.serviceUser.value) {
            let user = configuration.serviceUser
            problem(
                configuration.allowedUsers,
                "'\(user.value)', the default account [\(user.source)], is not among them"
            )
        }
        let hosts = configuration.hosts.value.split(separator: " ").map(String.init)
        for host in hosts where !Self.isHost(host) {
            problem(configuration.hosts, "'\(host)' is no host name; it has neither a scheme nor a port")
        }
        if hosts.count > Self.hostsLimit {
            problem(configuration.hosts, "there are more than \(Self.hostsLimit) names")
        }
        let logLevel = JournalWriter.Priority(name: configuration.logLevel.value)
        let levels = "error, warning, notice, info or debug"
        if logLevel == nil {
            problem(configuration.logLevel, "'\(configuration.logLevel.value)' is no log level: \(levels)")
        }
        for id in [configuration.computerID, configuration.tenantID].compactMap({ $0 }) where !Self.isID(id.value) {
            problem(id, "'\(id.value)': an id is 1 to \(Self.idLengthLimit) letters, digits, '-', '_', '.' and ':'")
        }
        let token = configuration.token.flatMap { BearerToken($0.value, bytes: BearerToken.credentialBytes) }
        if let setting = configuration.token, token == nil {
            // The value itself is a secret and stays out of messages.
            let lengths = BearerToken.credentialBytes
            problem(setting, "a token is \(lengths.lowerBound) to \(lengths.upperBound) visible ASCII characters")
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
        self.allowedUsers = allowedUsers.isEmpty ? nil : allowedUsers
        self.hosts = hosts
        self.logLevel = logLevel
        computer = ComputerIdentity(computerID: computerID, tenantID: configuration.tenantID?.value)
        (identities, tokenProblems) = Self.identities(tokenFiles, credential: configuration.token)
    }

    /// A file for the identity `control-plane` takes the place of the credential. A token that two identities share
    /// counts for neither.
    static func identities(_ files: TokenFiles, credential: Configuration.Setting?) -> (Identities, [String]) {
        var all = files.identities
        let token = credential.flatMap { BearerToken($0.value, bytes: BearerToken.credentialBytes) }
        if let token, !all.contains(where: { $0.name == Identity.controlPlane }) {
            all.append(Identity(Identity.controlPlane, .admin, token))
        }
        let identities = Identities(all, sha256: SHA256.hash)
        var problems = files.problems
        var shared: [Identity] = []
        for identity in identities.all {
            guard let other = identities.sharesToken(identity) else { continue }
            problems.append("the identities '\(other.name)' and '\(identity.name)' have the same token")
            shared += [other, identity]
        }
        guard !shared.isEmpty else { return (identities, problems) }
        let others = identities.all.filter { identity in !shared.contains { $0 === identity } }
        return (Identities(others, sha256: SHA256.hash), problems)
    }

    /// The number of accounts that services may run as.
    static let allowedUsersLimit = 64

    /// The number of further host names.
    static let hostsLimit = 64

    /// Whether a text is a host name of at most 253 characters (RFC 1035 §2.3.4), `_` allowed, or an IPv6 address.
    private static func isHost(_ text: String) -> Bool {
        isWord(text, besidesLettersAndDigits: "-_.", atMost: 253) || SocketAddress(ip: "[\(text)]:1") != nil
    }

    private static func isID(_ text: String) -> Bool {
        isWord(text, besidesLettersAndDigits: "-_.:", atMost: idLengthLimit)
    }

    private static func isWord(_ text: String, besidesLettersAndDigits others: String, atMost length: Int) -> Bool {
        (1...length).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: others.utf8.contains(byte)
                }
            }
    }

    private static func withoutFinalSlash(_ path: String) -> String {
        path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    }
}
