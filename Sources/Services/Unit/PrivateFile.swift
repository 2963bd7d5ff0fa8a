/// The file of a service that only root reads; what is in it stands nowhere else outside the service's record.
public enum PrivateFile {
    /// Its content: the environment as systemd reads it, or the launcher's credential. Nil where the service needs no
    /// such file.
    public static func render(_ spec: ServiceSpec) -> String? {
        if LaunchCredential.isNeeded(for: spec) { return LaunchCredential.render(spec) }
        return spec.environment.isEmpty ? nil : EnvironmentFile.render(spec.environment)
    }
}
