// swift-tools-version: 6.2
import PackageDescription

/// Every Swift target is held to the same rules: Swift 6 language mode (data-race safety) and no warnings.
let rules: [SwiftSetting] = [.treatAllWarnings(as: .error), .enableExperimentalFeature("Lifetimes")]

func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, exclude: ["README.md"], swiftSettings: rules)
}

func program(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: dependencies, exclude: ["README.md"], swiftSettings: rules)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, resources: resources, swiftSettings: rules)
}

let package = Package(
    name: "swift-rocketmq",
    products: [
        .library(name: "RocketMQClient", targets: ["RocketMQClient"]),
        .library(name: "RocketMQSQLite", targets: ["RocketMQSQLite"]),
        .library(name: "RocketMQIdempotence", targets: ["RocketMQIdempotence"]),
        .executable(name: "mqnamesrv", targets: ["mqnamesrv"]),
        .executable(name: "mqbroker", targets: ["mqbroker"]),
        .executable(name: "mqall", targets: ["mqall"]),
        .executable(name: "mqadmin", targets: ["mqadmin"]),
        .executable(name: "mqbench", targets: ["mqbench"]),
    ],
    targets: [
        // System libraries and the C shim.
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .target(name: "CLinux", exclude: ["README.md"]),
        .target(name: "CChecksum", exclude: ["README.md"]),
        .target(name: "CPrefetch", exclude: ["README.md"]),

        // Libraries, lowest first; an arrow never points down this list.
        library("RocketMQBase"),
        library("RocketMQProtocol", ["RocketMQBase", "CChecksum", "CZlib", "CLZ4", "CZstd"]),
        library("RocketMQSystem", ["RocketMQBase", "CLinux"]),
        library("RocketMQRemoting", ["RocketMQProtocol"]),
        library("RocketMQStore", ["RocketMQProtocol", "CPrefetch"]),
        library("RocketMQNameServer", ["RocketMQRemoting"]),
        library("RocketMQBroker", ["RocketMQStore", "RocketMQRemoting", "CPrefetch"]),
        library("RocketMQClient", ["RocketMQRemoting", "RocketMQSystem"]),
        library("RocketMQSQLite", ["RocketMQSystem", "CSQLite"]),
        library("RocketMQIdempotence", ["RocketMQClient", "RocketMQSQLite"]),
        library("RocketMQAdmin", ["RocketMQClient"]),
        library("RocketMQCommands", ["RocketMQNameServer", "RocketMQBroker", "RocketMQSystem"]),
        library("RocketMQTesting", ["RocketMQCommands", "RocketMQClient"]),

        // Programs: read settings, compose, run.
        program("mqnamesrv", ["RocketMQCommands"]),
        program("mqbroker", ["RocketMQCommands"]),
        program("mqall", ["RocketMQCommands"]),
        program("mqadmin", ["RocketMQAdmin"]),
        // Random histories with a failing disk, many of them: for those who work on this repository.
        program("mqtorture", ["RocketMQTesting"]),
        program("mqbench", ["RocketMQClient", "CMallocCount"]),
        program("simulate", ["RocketMQTesting"]),
        .target(name: "CMallocCount", exclude: ["README.md"]),
        .target(name: "ExampleOptions", path: "Sources/Examples/Options", swiftSettings: rules),
        .executableTarget(
            name: "example-quickstart", dependencies: ["RocketMQClient", "ExampleOptions"], path: "Sources/Examples/QuickStart",
            swiftSettings: rules),
        .executableTarget(
            name: "example-ordered", dependencies: ["RocketMQClient", "ExampleOptions"], path: "Sources/Examples/Ordered",
            swiftSettings: rules),
        .executableTarget(
            name: "example-batch", dependencies: ["RocketMQClient", "ExampleOptions"], path: "Sources/Examples/Batch", swiftSettings: rules),
        .executableTarget(
            name: "example-service", dependencies: ["RocketMQClient", "ExampleOptions"], path: "Sources/Examples/Service",
            swiftSettings: rules),
        .executableTarget(
            name: "example-orders", dependencies: ["RocketMQClient", "RocketMQSQLite", "ExampleOptions"],
            path: "Sources/Examples/OrderService", swiftSettings: rules),
        .executableTarget(
            name: "example-orders-postgres", dependencies: ["RocketMQClient", "ExampleOptions"], path: "Sources/Examples/PostgresOrders",
            swiftSettings: rules),
        .executableTarget(
            name: "example-litepull", dependencies: ["RocketMQClient", "ExampleOptions"], path: "Sources/Examples/LitePull",
            swiftSettings: rules),
        .executableTarget(
            name: "example-trace", dependencies: ["RocketMQClient", "ExampleOptions"], path: "Sources/Examples/Trace", swiftSettings: rules),

        // Tests
        tests("RocketMQAdminTests", ["RocketMQAdmin", "RocketMQTesting"]),
        tests("RocketMQClientTests", ["RocketMQClient", "RocketMQCommands", "RocketMQTesting"], resources: [.copy("Frames")]),
        tests("RocketMQBrokerTests", ["RocketMQBroker", "RocketMQSystem", "RocketMQTesting"]),
        tests("RocketMQNameServerTests", ["RocketMQNameServer", "RocketMQSystem", "RocketMQTesting"], resources: [.copy("Frames")]),
        tests("RocketMQRemotingTests", ["RocketMQRemoting", "RocketMQSystem", "RocketMQTesting"]),
        tests("RocketMQSystemTests", ["RocketMQSystem", "RocketMQTesting"]),
        tests("RocketMQSQLiteTests", ["RocketMQSQLite", "RocketMQTesting"]),
        tests("RocketMQIdempotenceTests", ["RocketMQIdempotence", "RocketMQTesting"]),
        tests("RocketMQCommandsTests", ["RocketMQCommands", "RocketMQTesting"]),
        tests("RocketMQSimulationTests", ["RocketMQTesting"]),
        tests("RocketMQProtocolTests", ["RocketMQProtocol"], resources: [.copy("Fixtures")]),
        tests("RocketMQBaseTests", ["RocketMQBase", "RocketMQTesting"]),
        tests("RocketMQStoreTests", ["RocketMQStore", "RocketMQSystem", "RocketMQTesting"], resources: [.copy("Vectors")]),
    ],
    swiftLanguageModes: [.v6]
)
