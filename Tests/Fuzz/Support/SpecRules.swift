package import Services

/// What README.md and openapi.json say of a spec. Nothing of it is shared with the validation.
package enum SpecRules {
    /// Finds a spec that should not have been accepted.
    package static func check(_ spec: ServiceSpec) {
        let name = Array(spec.name.description.utf8)
        require((1...63).contains(name.count), "a name has 1 to 63 characters", spec)
        require((0x61...0x7A).contains(name[0]), "a name begins with a letter", spec)
        require(name.allSatisfy { isLowercase($0) || isDigit($0) || $0 == 0x2D }, "a name has plain characters", spec)

        let command = spec.command.utf8
        require(command.count <= 65_536 && !command.contains(0), "a command is within its limit", spec)
        require(!command.allSatisfy { $0 == 0x20 || (0x09...0x0D).contains($0) }, "a command is not blank", spec)

        require(spec.environment.count <= 256, "there are at most 256 variables", spec)
        var byteCount = 0
        for (name, value) in spec.environment {
            byteCount += name.utf8.count + value.utf8.count
            require((1...1024).contains(name.utf8.count), "the name of a variable is within its limit", spec)
            require(!isDigit(Array(name.utf8)[0]), "the name of a variable begins with no digit", spec)
            require(name.utf8.allSatisfy(isWord), "the name of a variable has plain characters", spec)
            require(value.utf8.count <= 65_536 && !value.utf8.contains(0), "a value is within its limit", spec)
        }
        require(byteCount <= 131_072, "an environment is within its limit", spec)

        let directory = Array(spec.workingDirectory.utf8)
        require((1...4095).contains(directory.count), "a directory is within its limit", spec)
        require(directory[0] == 0x2F && !directory.contains { [0, 0x0A, 0x0D].contains($0) }, "it is a path", spec)

        require(spec.port.map { (1...65_535).contains($0) } ?? true, "a port is one of TCP's", spec)

        let user = Array(spec.user.utf8)
        require((1...32).contains(user.count), "an account is within its limit", spec)
        require(!isDigit(user[0]) && user[0] != 0x2D && user[0] != 0x2E, "an account begins with a letter", spec)
        require(user.allSatisfy { isWord($0) || $0 == 0x2D || $0 == 0x2E }, "an account has plain characters", spec)
    }

    private static func isLowercase(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte) }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

    private static func isWord(_ byte: UInt8) -> Bool {
        isLowercase(byte) || (0x41...0x5A).contains(byte) || isDigit(byte) || byte == 0x5F
    }
}
