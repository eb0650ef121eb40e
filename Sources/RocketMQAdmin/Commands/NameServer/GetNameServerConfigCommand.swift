import RocketMQBase
import RocketMQProtocol

/// `getNamesrvConfig`: all settings in force on the nameservers.
struct GetNameServerConfigCommand: AdminCommand {
    static let declaration = CommandDeclaration.admin("getNamesrvConfig", "Show the settings in force on the name servers.")

    init(_ arguments: CommandArguments) {}

    func run(_ context: AdminContext) async throws(AdminError) {
        var report = SettingsReport()
        let progress = try await context.atEachNameServer { address throws(AdminError) in
            report.add(address, title: address, try await context.client.settings(ofNameServer: address))
        }
        report.show(context)
        try progress.check()
    }
}
