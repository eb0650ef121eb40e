/// The settings of the name server.
public enum NameServerSettings {
    public static let listenPort = Setting(
        "listenPort", default: 9876, bounds: 0...65535, "The port that brokers and clients connect to; 0 lets the system choose.")

    public static let scanNotActiveBrokerInterval = Setting(
        "scanNotActiveBrokerInterval", default: 5000, bounds: 100...60_000, unit: .milliseconds,
        "How often to look for brokers that have fallen silent.")

    public static let brokerChannelExpiredTime = Setting(
        "brokerChannelExpiredTime", default: 120_000, bounds: 1000...3_600_000, unit: .milliseconds,
        "A broker that has not registered for so long is taken out of the routes. Brokers register every 30 seconds.")

    public static let orderMessageEnable = Setting(
        "orderMessageEnable", default: false, changeable: true,
        "Whether routes carry the queue order of topics that is kept under the namespace ORDER_TOPIC_CONFIG.")

    public static let kvConfigPath = Setting(
        "kvConfigPath", default: "~/namesrv/kvConfig.json", unit: .path, allowed: "a file", "The file of the key-value configuration."
    ) { !$0.isEmpty }

    public static let configStorePath = Setting(
        "configStorePath", default: "~/namesrv/namesrv.properties", unit: .path, allowed: "a file",
        "The file that settings changed by a request are written to, when the start named no file."
    ) { !$0.isEmpty }

    public static let configBlackList = Setting.blackList(default: ["configBlackList", "configStorePath", "kvConfigPath"])

    public static let groups = [
        SettingsGroup("Network", [listenPort, CommonSettings.bindAddress, CommonSettings.idleSeconds]),
        SettingsGroup("Brokers and routes", [scanNotActiveBrokerInterval, brokerChannelExpiredTime, orderMessageEnable]),
        SettingsGroup("Files", [kvConfigPath, configStorePath]),
        SettingsGroup("Operation", [configBlackList, CommonSettings.logLevel]),
    ]

    public static let schema = SettingsSchema(
        program: "mqnamesrv", groups: groups, withoutEffect: ReferenceKeys.forNameServer, refused: ReferenceKeys.refused)

    /// What no request may change, whatever `configBlackList` says.
    public static func forbiddenNames(_ values: SettingsValues) -> Set<String> {
        Set(values[configBlackList] + ["configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"])
    }
}
