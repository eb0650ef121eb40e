import RocketMQBase
import RocketMQSystem

/// `mqall [-d DIRECTORY] [-c FILE] [-p]`: a nameserver and a broker in one process.
public enum AllInOneCommand {
    static let directory = CommandOption<String>(
        "dataDirectory", "d", value: "DIRECTORY", "Where everything is kept; ~/rocketmq-all unless the settings name storePathRootDir.")
    static let nameServerPort = CommandOption<Int>(
        "namesrvPort", "P", value: "PORT", "The name server's port, 9876 by default; 0 lets the system choose.")
    static let brokerPort = CommandOption<Int>(
        "listenPort", "b", value: "PORT", "The broker's port, 10911 by default; 0 lets the system choose.")

    public static let program = ServerProgram(
        "mqall", "A name server and a broker in one process, with nothing to configure.", schema: BrokerSettings.schema,
        options: [directory, nameServerPort, brokerPort],
        notes: "FILE holds settings of the broker; conf/broker.conf is an example.\nClients use the name server's address.",
        usesLargePages: true,
        applyOptions: { arguments, values throws(SettingsFinding) in try apply(arguments, &values) }
    ) { context throws(StartFailure) in try start(context) }

    private static func apply(_ arguments: CommandArguments, _ values: inout SettingsValues) throws(SettingsFinding) {
        if let path = arguments[directory] {
            try values.set(StoreSettings.storePathRootDir.name, text: path, origin: .option("-d"))
        } else if case .builtIn = values.origin(of: StoreSettings.storePathRootDir) {
            try values.set(StoreSettings.storePathRootDir.name, text: "~/rocketmq-all", origin: .chosen("mqall keeps all in one place"))
        }
        if let port = arguments[brokerPort] {
            try values.set(BrokerSettings.listenPort.name, text: "\(port)", origin: .option("-b"))
        }
    }

    private static func start(_ context: ServerProgram.Context) throws(StartFailure) -> ServerProgram.Running {
        var nameServerSettings = SettingsValues(NameServerSettings.schema)
        let root = context.settings[StoreSettings.storePathRootDir]
        do throws(SettingsFinding) {
            try nameServerSettings.set(
                NameServerSettings.kvConfigPath.name, text: root + "/namesrv/kvConfig.json", origin: .chosen("mqall keeps all in one place")
            )
            try nameServerSettings.set(
                CommonSettings.bindAddress.name, text: context.settings[CommonSettings.bindAddress],
                origin: .chosen("mqall keeps all in one place"))
            if let port = context.arguments[nameServerPort] {
                try nameServerSettings.set(NameServerSettings.listenPort.name, text: "\(port)", origin: .option("-P"))
            }
        } catch {
            throw StartFailure(error.description)
        }
        nameServerSettings.expandHome(CurrentProcess.homeDirectory)
        let nameServer = try NameServerInstance(
            settings: nameServerSettings, portSetting: "port for the name server with -P", clock: context.clock,
            fileSystem: context.fileSystem, log: context.log.component("namesrv"))
        var settings = context.settings
        do throws(SettingsFinding) {
            // The nameserver of this process first; others may be named beside it.
            let others = settings[BrokerSettings.namesrvAddr].map { ";" + $0 }.joined()
            try settings.set(
                BrokerSettings.namesrvAddr.name, text: "\(reachable(nameServer.address))\(others)",
                origin: .chosen("mqall keeps all in one place"))
            let broker = try start(settings, context, nameServer)
            let summary =
                "name server on \(nameServer.address), broker on \(broker.address) known as \(broker.advertisedAddress), data in \(root)"
            return ServerProgram.Running(summary: summary) {
                let failure = broker.stop()
                nameServer.stop()
                return failure
            }
        } catch {
            nameServer.stop()
            throw StartFailure(error.description)
        }
    }

    private static func start(
        _ settings: SettingsValues, _ context: ServerProgram.Context, _ nameServer: NameServerInstance
    ) throws(SettingsFinding) -> BrokerInstance {
        do throws(StartFailure) {
            return try BrokerInstance(
                settings: settings, settingsFile: context.settingsFile, clock: context.clock, fileSystem: context.fileSystem,
                log: context.log.component("broker"), interruption: context.interruption)
        } catch {
            throw SettingsFinding(.error, source: "", line: 0, key: "", error.description)
        }
    }

    /// The address at which this machine reaches a server of its own.
    private static func reachable(_ address: SocketAddress) -> SocketAddress {
        switch address.host {
        case .ipv4(0): .loopback(port: address.port)
        case .ipv6(0, 0): SocketAddress(host: .ipv6(0, 1), port: address.port)
        default: address
        }
    }
}
