internal import JSON
internal import Services

/// Parses the body of a create request: every field and its aliases. All errors are reported together.
enum ServiceBody {
    /// The spec in a body. `name` is the name in the path, if the path names the service; the body may repeat it.
    /// `account` is the account that sends it, nil for an administrator; `accountOfUID` finds that of an own service.
    /// Throws a 400 or 422 with all invalid fields.
    static func spec(
        of body: [UInt8],
        named name: String? = nil,
        defaults: SpecDraft.Defaults,
        for account: Account? = nil,
        accountOfUID: (UInt32) -> Account? = { _ in nil }
    ) throws(Failure) -> ServiceSpec {
        let value: JSONValue
        do throws(JSONParseFailure) {
            value = try JSONParser.parse(body)
        } catch {
            throw .notJSON(error.reason, offset: error.offset)
        }
        guard case .object(let object) = value else {
            throw .badRequest("the body must be a JSON object, not \(value.typeName)")
        }
        var reader = Reader()
        reader.draft.name = name
        for member in object { reader.read(member.key, member.value) }
        let defaults = reader.takeAccount(account, accountOfUID, defaults)
        do throws(FieldProblems) {
            return try reader.draft.validated(defaults: defaults, problems: reader.problems)
        } catch {
            throw .invalid(error)
        }
    }

    /// Takes the members one by one into a draft.
    private struct Reader {
        var draft = SpecDraft()
        var problems = FieldProblems()

        /// Has an account's own service run as the account, and no other. Returns the defaults.
        mutating func takeAccount(
            _ account: Account?,
            _ accountOfUID: (UInt32) -> Account?,
            _ defaults: SpecDraft.Defaults
        ) -> SpecDraft.Defaults {
            var defaults = defaults
            let owner = draft.name.flatMap { ServiceName($0) }?.owner
            if let account, let owner, owner != account.uid {
                problems.add("name", "may hold only a to z, 0 to 9 and '-'")
            }
            guard let account = account ?? owner.flatMap(accountOfUID) else {
                if let owner { problems.add("name", "is that of an account's own service, and \(owner) is no account") }
                return defaults
            }
            draft.account = account.uid
            if let user = draft.user, !user.utf8.elementsEqual(account.name.utf8) {
                problems.add("user", "must be '\(account.name)', whose own service this is")
            }
            defaults.user = account.name
            if !account.home.isEmpty { defaults.workingDirectory = account.home }
            return defaults
        }

        mutating func read(_ key: String, _ value: JSONValue) {
            switch key {
            case "name": merge(\.name, text(key, value), key, alias: "name")
            case "command": draft.command = text(key, value)
            case "env": draft.environment = variables(key, value)
            case "cwd", "working_dir": merge(\.workingDirectory, text(key, value), key, alias: "cwd")
            case "restart", "restart_policy": merge(\.restart, text(key, value), key, alias: "restart")
            case "auto_restart": merge(\.restart, automaticRestart(key, value), key, alias: "restart")
            case "port": draft.port = port(key, value)
            case "user": draft.user = text(key, value)
            case "stdio": draft.stdio = text(key, value)
            default: problems.add(key, "is not a field of a service")
            }
        }

        /// A field and its alias may both be given if they are equal.
        private mutating func merge(
            _ field: WritableKeyPath<SpecDraft, String?>,
            _ value: String?,
            _ key: String,
            alias: String
        ) {
            guard let value else { return }
            // Compared byte by byte: Swift's == treats canonically equivalent strings as equal.
            if let other = draft[keyPath: field], !other.utf8.elementsEqual(value.utf8) {
                problems.add(key, key == alias ? "differs from the name in the path" : "differs from '\(alias)'")
            }
            draft[keyPath: field] = value
        }

        private mutating func text(_ key: String, _ value: JSONValue) -> String? {
            switch value {
            case .string(let text): return text
            // The client libraries send null for an omitted argument.
            case .null: return nil
            default:
                problems.add(key, "must be a string, not \(value.typeName)")
                return nil
            }
        }

        private mutating func automaticRestart(_ key: String, _ value: JSONValue) -> String? {
            switch value {
            case .bool(let isAutomatic): return (isAutomatic ? RestartPolicy.onFailure : .no).rawValue
            case .null: return nil
            default:
                problems.add(key, "must be a boolean, not \(value.typeName)")
                return nil
            }
        }

        private mutating func port(_ key: String, _ value: JSONValue) -> Int? {
            switch value {
            case .number(let number):
                if let integer = number.integer { return integer }
                problems.add(key, "must be an integer")
            case .null: break
            default: problems.add(key, "must be an integer, not \(value.typeName)")
            }
            return nil
        }

        private mutating func variables(_ key: String, _ value: JSONValue) -> [String: String]? {
            switch value {
            case .object(let object):
                var variables: [String: String] = [:]
                for member in object {
                    guard case .string(let text) = member.value else {
                        problems.add(key, "must map names to strings; '\(member.key)' is \(member.value.typeName)")
                        return nil
                    }
                    guard text != ServiceSpec.hiddenValue else {
                        problems.add(key, "has \(ServiceSpec.hiddenValue) for '\(member.key)', in place of the value")
                        return nil
                    }
                    variables[member.key] = text
                }
                return variables
            case .null: return nil
            default:
                problems.add(key, "must be an object of strings, not \(value.typeName)")
                return nil
            }
        }
    }
}
