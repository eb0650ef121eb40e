import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// The broker's settings: change (25) and show (26), both as the text of a properties file. Changes are in force at once, and
/// written back into the file that the broker was started with; without one they last until it stops.
final class SettingsHandler: AdministrationHandler {
    let codes: [RequestCode] = [.updateBrokerConfig, .getBrokerConfig]
    private let settings: SettingsHolder
    private let file: File?
    private let log: Logger

    /// Where changes are kept.
    struct File {
        var path: String
        var fileSystem: any FileSystem
        var loop: any EventLoop
        /// Writes run here, in the order in which the changes came.
        var worker: any BackgroundWorker
    }

    init(settings: SettingsHolder, file: File? = nil, log: Logger) {
        self.settings = settings
        self.file = file
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
    private func update(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
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
        guard !update.changed.isEmpty else { return .response(.success, update.remark) }
        guard let file else {
            let until = "in force until the broker stops: it was started without a settings file (-c FILE)"
            return .response(.success, [update.remark, until].compactMap { $0 }.joined(separator: "; "))
        }
        save(update, to: file, AnswerLater(request, from: connection))
        return nil
    }

    private func save(_ update: SettingsUpdate, to file: File, _ later: AnswerLater) {
        let report: (String?) -> Void = { [log] failure in
            guard let failure else { return later.send(.response(.success, update.remark)) }
            log.error("changed settings could not be saved: \(failure)")
            later.send(.response(.systemError, "in force until the broker stops, but not saved: \(failure)"))
        }
        let completion = LoopBound(report, on: file.loop)
        file.worker.run { [path = file.path, fileSystem = file.fileSystem, loop = file.loop] in
            let failure = SettingsFile.replace(update.changed, in: path, fileSystem)
            loop.execute { completion.value(failure) }
        }
    }
}
