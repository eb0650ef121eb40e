import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// The broker's settings: change (25) and show (26), both as the text of a properties file. Changes last until the broker
/// stops: what is to stay goes into its file.
final class SettingsHandler: AdministrationHandler {
    let codes: [RequestCode] = [.updateBrokerConfig, .getBrokerConfig]
    private let settings: SettingsHolder
    private let log: Logger

    init(settings: SettingsHolder, log: Logger) {
        self.settings = settings
        self.log = log
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        guard request.requestCode == .updateBrokerConfig else {
            let version = DataVersion(timestamp: settings.changedAtMilliseconds, counter: settings.changeCount)
            return .success(["version": version.json.description], body: Array(settings.values.propertiesText().utf8))
        }
        return try update(request, connection)
    }

    /// All of the request or nothing of it. Settings of the reference's without effect here change nothing and refuse nothing.
    private func update(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand {
        let text: PropertiesText
        do throws(SettingsFinding) { text = try PropertiesText(request.body, source: "request") } catch {
            throw InvalidRequest(error.description)
        }
        let update = settings.values.updated(
            with: text, forbidden: BrokerSettings.forbiddenNames(settings.values), peer: connection.peer.description)
        if let forbidden = update.refused.first(where: { $0.reason == .forbidden }) {
            throw InvalidRequest("Can not update config in black list. \(forbidden)", code: .noPermission)
        }
        let refused = update.refused.filter { $0.reason != .withoutEffect }
        guard refused.isEmpty else {
            throw InvalidRequest("nothing was changed: \(refused.map(\.message).joined(separator: "; "))")
        }
        settings.apply(update)
        for change in update.changed { log.info("\(change.name) changed from \(change.old) to \(change.new) by \(connection.peer)") }
        return .response(.success, update.remark)
    }
}
