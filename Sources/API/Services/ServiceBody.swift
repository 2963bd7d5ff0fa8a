internal import JSON
internal import Services

/// Parses the spec in the body of a request: every field and its aliases. All errors are reported together.
enum ServiceBody {
    /// What is known of the request besides its body.
    struct Origin {
        /// The name in the path, if the path names the service; the body may repeat it.
        var name: String?
        var defaults: SpecDraft.Defaults
        /// The account that sends it, nil for an administrator.
        var account: Account?
        /// Finds the account of an own service.
        var accountOfUID: (UInt32) -> Account? = { _ in nil }
        /// The spec that the body changes; nil for a whole one.
        var former: ServiceSpec?
        /// Whether the body may be the document of a service as GET gives it: what is no field of a spec is ignored.
        var ignoresReadOnly = false
    }

    /// The spec in a body. Throws a 400 or 422 with all invalid fields.
    static func spec(of body: [UInt8], _ origin: Origin) throws(Failure) -> ServiceSpec {
        let object = try JSONObject(ofBody: body)
        // The document of a service.
        if origin.ignoresReadOnly, object.count == 1, case .object(let service)? = object["data"] {
            return try spec(of: service, origin)
        }
        return try spec(of: object, origin)
    }

    /// The spec in an object. Throws a 422 with all invalid fields.
    static func spec(of object: JSONObject, _ origin: Origin) throws(Failure) -> ServiceSpec {
        var reader = Reader(origin)
        for member in object { reader.read(member.key, member.value) }
        let defaults = reader.takeAccount()
        do throws(FieldProblems) {
            return try reader.draft.validated(defaults: defaults, problems: reader.problems)
        } catch {
            throw .invalid(error)
        }
    }

    /// Takes the members one by one into a draft.
    private struct Reader {
        var draft: SpecDraft
        var problems = FieldProblems()
        private let origin: Origin
        /// The fields that were given, by the key of the client.
        private var given: [String: String] = [:]

        init(_ origin: Origin) {
            self.origin = origin
            draft = origin.former.map { SpecDraft($0) } ?? SpecDraft()
            if let name = origin.name { draft["name"] = .string(name) }
            guard origin.account != nil else { return }
            // An administrator may have written what an account may not.
            for field in SpecFields.all where draft[field.key].flatMap(field.accountProblem) != nil {
                draft[field.key] = nil
            }
        }

        /// Has an account's own service run as the account, and no other. Returns the defaults.
        mutating func takeAccount() -> SpecDraft.Defaults {
            var defaults = origin.defaults
            let owner = draft.text("name").flatMap { ServiceName($0) }?.owner
            if let account = origin.account, let owner, owner != account.uid {
                problems.add("name", "may hold only a to z, 0 to 9 and '-'")
            }
            guard let account = origin.account ?? owner.flatMap(origin.accountOfUID) else {
                if let owner { problems.add("name", "is that of an account's own service, and \(owner) is no account") }
                return defaults
            }
            draft.account = account.uid
            if let user = draft.text("user"), !user.utf8.elementsEqual(account.name.utf8) {
                problems.add("user", "must be '\(account.name)', whose own service this is")
            }
            defaults.user = account.name
            if !account.home.isEmpty { defaults.workingDirectory = account.home }
            return defaults
        }

        mutating func read(_ key: String, _ value: JSONValue) {
            guard let (field, alias) = SpecFields.find(key) else {
                if !origin.ignoresReadOnly || !ServiceObject.isReadOnly(key) {
                    problems.add(key, "is not a field of a service")
                }
                return
            }
            // The client libraries send null for an omitted argument.
            if value == .null, !field.takesNull {
                if origin.former != nil, field.key != "name", given[field.key] == nil { draft[field.key] = nil }
                return
            }
            var value = value
            switch alias?.translate(value) {
            case .value(let translated): value = translated
            case .problem(let reason): return problems.add(key, reason)
            case nil: break
            }
            if hasHiddenValue(field, value, key) { return }
            merge(field, field.canonical(value), key)
        }

        /// A field and its alias may both be given if they are equal, and a name in the body and in the path.
        private mutating func merge(_ field: any SpecFieldDeclaration, _ value: JSONValue, _ key: String) {
            let isGiven = given[field.key] != nil || field.key == "name" && origin.name != nil
            if isGiven, draft[field.key] != value {
                let other = given[field.key].map { "'\($0)'" } ?? "the name in the path"
                problems.add(key, "differs from \(other)")
            }
            given[field.key] = key
            draft.aliases[field.key] = key
            draft[field.key] = value
        }

        private mutating func hasHiddenValue(
            _ field: any SpecFieldDeclaration,
            _ value: JSONValue,
            _ key: String
        ) -> Bool {
            guard field.key == "env", case .object(let variables) = value,
                let hidden = variables.first(where: { $0.value == .string(ServiceSpec.hiddenValue) })
            else { return false }
            problems.add(key, "has \(ServiceSpec.hiddenValue) for '\(hidden.key)', in place of the value")
            return true
        }
    }
}
