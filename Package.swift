// swift-tools-version: 6.3
// The map of the house. A target may import what its `dependencies` name and nothing else; arrows point one way:
//
//     miosa-agent → API, JSON      → HTTP, Services → JSON
//                 → HTTPServer     → HTTP, Systemd
//                 → ServiceManager → Services, Systemd → CSystemd
//                 → EnvironmentText
//     http-echo   → HTTP, HTTPServer, Systemd
//     Launch      → EnvironmentText, CLaunch
//
// JSON, HTTP, Services and EnvironmentText never do I/O and import nothing but the standard library; Systemd alone touches C, and the
// launcher, a program of its own.

import PackageDescription

/// The rules of the language that every target follows; a warning is an error.
let common: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("InferIsolatedConformances"),
    .enableUpcomingFeature("ImmutableWeakCaptures"),
    .treatAllWarnings(as: .error),
]

/// What ships also has every unsafe expression marked; outside Systemd there is none.
let shipped: [SwiftSetting] = common + [.strictMemorySafety()]

/// For code whose time is that of systemd and of the disk: smaller instead of faster.
let small: [SwiftSetting] = shipped + [.unsafeFlags(["-Osize"], .when(configuration: .release))]

let package = Package(
    name: "miosa-agent",
    targets: [
        // The C headers of libsystemd and of the few libc parts that Glibc does not export. No code.
        .systemLibrary(
            name: "CSystemd",
            pkgConfig: "libsystemd",
            providers: [.apt(["libsystemd-dev"])]
        ),
        // Event loop, D-Bus, journal, files and sockets: the only importer of C. Knows no service and no HTTP.
        .target(name: "Systemd", dependencies: ["CSystemd"], swiftSettings: shipped),

        // The text of a file of environment variables, as systemd reads it. No I/O. A part of the launcher, too.
        .target(name: "EnvironmentText", swiftSettings: small),
        // The launcher, which systemd runs and which becomes a service's command. scripts/build compiles the same sources
        // as Embedded Swift, without a runtime, and links them statically into a program of their own; nothing imports
        // them. All of it is calls of libc's on memory without an owner, so that marks would be on every line.
        .systemLibrary(name: "CLaunch"),
        .target(name: "Launch", dependencies: ["CLaunch", "EnvironmentText"], swiftSettings: common),

        // JSON text to values and back (RFC 8259), strict. No I/O.
        .target(name: "JSON", swiftSettings: shipped),
        // HTTP/1.1 messages and routing (RFC 9110, 9112), strict. No I/O.
        .target(name: "HTTP", swiftSettings: shipped),
        // What a service is: spec, unit file, state, record, and the `ServiceControl` that the API asks. No I/O.
        .target(name: "Services", dependencies: ["JSON"], swiftSettings: small),

        // Connections: bytes from sockets to HTTP requests and back.
        .target(name: "HTTPServer", dependencies: ["HTTP", "Systemd"], swiftSettings: shipped),
        // Makes services real: records and unit files on disk, jobs in systemd, the up-to-date picture of both.
        .target(name: "ServiceManager", dependencies: ["JSON", "Services", "Systemd"], swiftSettings: small),
        // The routes, what they take and what they answer.
        .target(
            name: "API",
            dependencies: ["HTTP", "JSON", "Services"],
            resources: [.embedInCode("openapi.json")],
            swiftSettings: shipped
        ),

        // The daemon: configuration and wiring, nothing else.
        .executableTarget(
            name: "miosa-agent",
            dependencies: [
                "API", "EnvironmentText", "HTTP", "HTTPServer", "JSON", "Services", "ServiceManager", "Systemd",
            ],
            swiftSettings: small
        ),

        // The server without the API, for conformance tools of others. Never installed.
        .executableTarget(
            name: "http-echo",
            dependencies: ["HTTP", "HTTPServer", "Systemd"],
            swiftSettings: shipped
        ),

        // What tests share: the loop's thread, a scripted peer on the bus, seeded random numbers.
        .target(
            name: "TestSupport",
            dependencies: ["CSystemd", "Systemd"],
            path: "Tests/TestSupport",
            swiftSettings: common
        ),
        // What systemd and the shell would read, written from their manuals: knows nothing of what is tested with it.
        .target(name: "SystemdReader", path: "Tests/SystemdReader", swiftSettings: common),
        .testTarget(name: "JSONTests", dependencies: ["JSON", "TestSupport"], swiftSettings: common),
        .testTarget(name: "HTTPTests", dependencies: ["HTTP", "TestSupport"], swiftSettings: common),
        .testTarget(
            name: "ServicesTests",
            dependencies: ["EnvironmentText", "JSON", "Launch", "Services", "SystemdReader", "TestSupport"],
            exclude: ["Goldens"],
            swiftSettings: common
        ),
        .testTarget(name: "SystemdTests", dependencies: ["CSystemd", "Systemd", "TestSupport"], swiftSettings: common),
        .testTarget(
            name: "HTTPServerTests",
            dependencies: ["HTTP", "HTTPServer", "Systemd", "TestSupport", "http-echo"],
            swiftSettings: common
        ),
        .testTarget(
            name: "ServiceManagerTests",
            dependencies: ["JSON", "Services", "ServiceManager", "Systemd", "TestSupport"],
            swiftSettings: common
        ),
        .testTarget(
            name: "APITests",
            dependencies: ["API", "HTTP", "JSON", "Services", "Systemd"],
            swiftSettings: common
        ),
        .testTarget(
            name: "AgentTests",
            dependencies: [
                "API", "EnvironmentText", "Services", "ServiceManager", "Systemd", "TestSupport", "miosa-agent",
            ],
            swiftSettings: common
        ),
        // The rules of the house that no compiler checks.
        .testTarget(name: "TidyTests", swiftSettings: common),
    ],
    swiftLanguageModes: [.v6]
)

// libFuzzer comes with `-sanitize=fuzzer` alone, and learns only from code that was compiled with it: scripts/fuzz
// sets the variable.
if Context.environment["MIOSA_AGENT_FUZZ"] != nil {
    /// A program that holds a property against whatever libFuzzer makes up.
    func fuzzer(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
        .executableTarget(
            name: "Fuzz\(name)",
            dependencies: ["FuzzSupport"] + dependencies,
            path: "Tests/Fuzz/\(name)",
            swiftSettings: common
        )
    }
    package.targets += [
        .systemLibrary(name: "CFuzzer", path: "Tests/Fuzz/CFuzzer"),
        .target(
            name: "FuzzSupport",
            dependencies: ["CFuzzer", "JSON", "Services"],
            path: "Tests/Fuzz/Support",
            swiftSettings: common
        ),
        fuzzer("HTTPParser", ["HTTP"]),
        fuzzer("CreateBody", ["API", "HTTP", "JSON", "Services"]),
        fuzzer("UnitFile", ["Services", "SystemdReader"]),
        fuzzer("EnvironmentFile", ["Services", "SystemdReader"]),
        fuzzer("Query", ["API", "HTTP", "Services"]),
    ]
}
