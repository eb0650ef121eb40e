import RocketMQBase
import RocketMQSystem

/// `mqbroker [-n ADDRESSES] [-c FILE] [-p]`
public enum BrokerCommand {
    static let nameServers = CommandOption<String>(
        "namesrvAddr", "n", value: "HOST:PORT[;HOST:PORT]", "Name servers to register with; else NAMESRV_ADDR or the settings' namesrvAddr."
    )

    public static let program = ServerProgram(
        "mqbroker", "Stores messages and hands them to consumers.", schema: BrokerSettings.schema, options: [nameServers],
        notes: "Port 10911 unless the settings say otherwise. conf/broker.conf is an example of FILE.",
        usesLargePages: true,
        applyOptions: { arguments, values throws(SettingsFinding) in try applyNameServers(arguments, &values) }
    ) { context throws(StartFailure) in
        let instance = try BrokerInstance(
            settings: context.settings, settingsFile: context.settingsFile, clock: context.clock, fileSystem: context.fileSystem,
            log: context.log.component("broker"), interruption: context.interruption)
        return ServerProgram.Running(summary: "listens on \(instance.address) and is known as \(instance.advertisedAddress)") {
            instance.stop()
        }
    }

    /// The option counts before the file, and both before the environment.
    static func applyNameServers(_ arguments: CommandArguments, _ values: inout SettingsValues) throws(SettingsFinding) {
        if let addresses = arguments[nameServers] {
            try values.set(BrokerSettings.namesrvAddr.name, text: addresses, origin: .option("-n"))
        } else if values[BrokerSettings.namesrvAddr].isEmpty, let addresses = CurrentProcess.environment("NAMESRV_ADDR"), !addresses.isEmpty
        {
            try values.set(BrokerSettings.namesrvAddr.name, text: addresses, origin: .environment("NAMESRV_ADDR"))
        }
    }
}
