/// What became of a request to change settings while the program runs (codes 25 and 318).
public struct SettingsUpdate: Sendable {
    public struct Change: Sendable, Equatable {
        public let name: String
        public let old: String
        public let new: String

        public init(name: String, old: String, new: String) {
            self.name = name
            self.old = old
            self.new = new
        }
    }
    public struct Refusal: Sendable, Equatable, CustomStringConvertible {
        public enum Reason: Sendable, Equatable {
            /// The program's list of settings that requests must not touch names it: answer NO_PERMISSION.
            case forbidden
            /// Takes effect at a start only.
            case needsRestart
            case badValue
            case unknown
            /// The reference's, without effect here.
            case withoutEffect
        }
        public let name: String
        public let reason: Reason
        public let message: String
        public var description: String { message }
    }

    /// The settings as they are after the changes.
    public fileprivate(set) var values: SettingsValues
    /// In the order of the request; settings that already had the value sent are in neither list.
    public fileprivate(set) var changed: [Change] = []
    public fileprivate(set) var refused: [Refusal] = []

    /// One line for the answer's remark; `nil` when nothing was refused.
    public var remark: String? {
        refused.isEmpty ? nil : refused.map(\.message).joined(separator: "; ")
    }
}

extension SettingsValues {
    /// These settings with those of `text` that may change while running. Nothing is changed in place: the caller looks at
    /// what was refused, and then takes `values` or leaves it.
    ///
    /// - Parameters:
    ///   - forbidden: names that requests must not touch (`configBlackList` and the like), whatever their value.
    ///   - peer: where the request came from, for `origin(of:)`.
    public func updated(with text: PropertiesText, forbidden: Set<String> = [], peer: String) -> SettingsUpdate {
        var update = SettingsUpdate(values: self)
        for entry in text.entries {
            func refuse(_ reason: SettingsUpdate.Refusal.Reason, _ message: String) {
                update.refused.append(.init(name: entry.key, reason: reason, message: message))
            }
            let shown = printable(entry.key)
            guard !forbidden.contains(entry.key) else {
                refuse(.forbidden, "\(shown) must not be changed by a request; change it in the file and restart")
                continue
            }
            guard let setting = schema[entry.key] else {
                if let reason = schema.withoutEffect[entry.key] {
                    refuse(.withoutEffect, "\(shown) has no effect here: \(reason)")
                } else if let what = schema.refused[entry.key] {
                    refuse(.withoutEffect, "\(shown) has no effect here: \(schema.program) has no \(what)")
                } else {
                    let hint = schema.nearestKey(to: entry.key).map { "; did you mean \($0)?" } ?? ""
                    refuse(.unknown, "unknown setting \(shown)\(hint)")
                }
                continue
            }
            let old = update.values.text(of: entry.key) ?? setting.defaultText
            var trial = update.values
            do throws(SettingsFinding) {
                try trial.set(entry.key, text: entry.value, origin: .request(peer))
            } catch {
                refuse(.badValue, error.message)
                continue
            }
            let new = trial.text(of: entry.key) ?? old
            if new == old { continue }
            guard setting.isChangeable else {
                refuse(.needsRestart, "\(shown) takes effect at a start only; change it in the file and restart")
                continue
            }
            let known = Set(update.values.violatedRules().map(\.key))
            if let violated = trial.violatedRules().first(where: { !known.contains($0.key) }) {
                refuse(.badValue, violated.message)
                continue
            }
            update.values = trial
            update.changed.append(.init(name: entry.key, old: old, new: new))
        }
        return update
    }
}
