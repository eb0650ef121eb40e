import RocketMQBase

/// The settings in force, which requests may change. Confined to the broker's loop.
final class SettingsHolder {
    private(set) var values: SettingsValues
    /// Counts the changes, for tools that look whether a configuration is new.
    private(set) var changeCount: Int64 = 0
    private(set) var changedAtMilliseconds: Int64
    /// Called with the settings as they are now and what changed: parts take over what concerns them.
    var onChange: ((SettingsValues, [SettingsUpdate.Change]) -> Void)?
    private let clock: any SystemClock

    init(_ values: SettingsValues, clock: any SystemClock) {
        self.values = values
        self.clock = clock
        changedAtMilliseconds = clock.wallMilliseconds
    }

    func apply(_ update: SettingsUpdate) {
        guard !update.changed.isEmpty else { return }
        values = update.values
        changeCount += 1
        changedAtMilliseconds = clock.wallMilliseconds
        onChange?(values, update.changed)
    }
}
