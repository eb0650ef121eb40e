/// Settings that name server and broker share.
public enum CommonSettings {
    public static let bindAddress = Setting(
        "bindAddress", default: "0.0.0.0", allowed: "an IP address of this machine, 0.0.0.0 or ::",
        "The address to listen on; 0.0.0.0 stands for all of IPv4, :: for all."
    ) { SocketAddress.Host($0) != nil }

    public static let idleSeconds = Setting(
        "serverChannelMaxIdleTimeSeconds", default: 120, bounds: 0...86_400, unit: .seconds,
        "A connection on which nothing was sent or received for so long is closed; 0 keeps it.")

    public static let logLevel = Setting(
        "logLevel", default: LogLevel.info, changeable: true, "How much is logged: lines below this level are left out.")
}

extension Setting where Value == [String] {
    /// `namesrvAddr` and its like.
    static func addresses(_ name: String, _ text: String) -> Setting {
        Setting(name, default: [], allowed: "HOST:PORT, several separated by ;", text) { $0.allSatisfy(SettingChecks.isHostAndPort) }
    }

    /// Names of settings that requests must not change.
    static func blackList(default names: [String]) -> Setting {
        Setting("configBlackList", default: names, "Settings that requests must not change, separated by ; .")
    }
}
