/// What a setting's number counts, for texts and print-outs.
public enum SettingUnit: String, Sendable {
    case none = ""
    case bytes, pages, percent, milliseconds, seconds, hours
    case messages, queues, files
    /// Text that names a file or directory; a leading `~/` stands for the home directory.
    case path
}

/// One setting, declared once: name, type, default, bounds, unit and text.
///
/// ```swift
/// static let listenPort = Setting("listenPort", default: 10911, bounds: 0...65535, "The port that clients connect to.")
/// values[BrokerSettings.listenPort]
/// ```
public struct Setting<Value: SettingValue>: SettingDeclaration {
    /// The property's name in files, requests and print-outs: the reference's where it has one.
    public let name: String
    public let defaultValue: Value
    public let unit: SettingUnit
    /// Whether a request may change it while the program runs; others take effect at the next start only.
    public let isChangeable: Bool
    /// One or two sentences for people who set it.
    public let text: String
    public let allowed: String
    private let accepts: @Sendable (Value) -> Bool

    /// A setting whose values have an order: `bounds` are the least and the greatest allowed.
    public init(
        _ name: String, default defaultValue: Value, bounds: ClosedRange<Value>, unit: SettingUnit = .none,
        changeable: Bool = false, _ text: String
    ) where Value: Comparable & FixedWidthInteger {
        let open = bounds.upperBound == .max
        self.init(
            name, default: defaultValue, unit: unit, changeable: changeable,
            allowed: "\(Value.form) " + (open ? "of at least \(bounds.lowerBound)" : "from \(bounds.lowerBound) to \(bounds.upperBound)"),
            text
        ) { bounds.contains($0) }
    }

    /// A setting with any check. `allowed` goes into `must be …` when the check refuses a value.
    public init(
        _ name: String, default defaultValue: Value, unit: SettingUnit = .none, changeable: Bool = false, allowed: String = Value.form,
        _ text: String, accepts: @escaping @Sendable (Value) -> Bool = { _ in true }
    ) {
        precondition(accepts(defaultValue), "the default of \(name) is outside its own bounds")
        self.name = name
        self.defaultValue = defaultValue
        self.unit = unit
        self.isChangeable = changeable
        self.text = text
        self.allowed = allowed
        self.accepts = accepts
    }

    public var defaultText: String { defaultValue.settingText }

    public func parse(_ text: String) -> (any SettingValue)? {
        guard let value = Value(settingText: trimmingBlanks(text)), accepts(value) else { return nil }
        return value
    }
}

/// A setting whose value type is not of interest: what schemas, readers and print-outs work on.
public protocol SettingDeclaration: Sendable {
    var name: String { get }
    var unit: SettingUnit { get }
    var isChangeable: Bool { get }
    var text: String { get }
    /// What values are allowed, to go into `must be …`.
    var allowed: String { get }
    /// The default as it would stand in a file.
    var defaultText: String { get }
    /// The value that the text stands for, or `nil` when it is not allowed.
    func parse(_ text: String) -> (any SettingValue)?
}

/// Settings that belong together, under a title for print-outs.
public struct SettingsGroup: Sendable {
    public let title: String
    public let settings: [any SettingDeclaration]

    public init(_ title: String, _ settings: [any SettingDeclaration]) {
        self.title = title
        self.settings = settings
    }
}

/// All settings of a program, and what it knows of the reference's that it does without.
public struct SettingsSchema: Sendable, CustomStringConvertible {
    /// The program, as in `mqbroker`.
    public let program: String
    public let groups: [SettingsGroup]
    /// The reference's keys that this program has no use for, each with a reason that completes `has no effect here: …`.
    public let withoutEffect: [String: String]
    /// Keys that ask for something which must not be missing silently (access control, say), when set to the value `true`:
    /// what is asked for.
    public let refused: [String: String]
    /// What settings were called in earlier releases of the reference, with the names they have now: files with them are read as
    /// they were meant.
    public let formerNames: [String: String]
    /// Checks that involve several settings.
    public let rules: [SettingsRule]
    private let byName: [String: any SettingDeclaration]

    public init(
        program: String, groups: [SettingsGroup], withoutEffect: [String: String] = [:], refused: [String: String] = [:],
        formerNames: [String: String] = [:], rules: [SettingsRule] = []
    ) {
        self.program = program
        self.groups = groups
        self.rules = rules
        self.formerNames = formerNames
        var byName: [String: any SettingDeclaration] = [:]
        for setting in groups.flatMap(\.settings) {
            precondition(byName[setting.name] == nil, "\(setting.name) is declared twice")
            byName[setting.name] = setting
        }
        self.byName = byName
        self.withoutEffect = withoutEffect.filter { byName[$0.key] == nil }
        self.refused = refused.filter { byName[$0.key] == nil }
    }

    public var description: String { "settings of \(program)" }

    public var settings: [any SettingDeclaration] { groups.flatMap(\.settings) }

    public subscript(_ name: String) -> (any SettingDeclaration)? { byName[name] }

    /// The declared key, or one of those that must not be missing silently, that `name` is but for a slip of the finger: upper
    /// and lower case, a `-`, `_` or `.`, or one letter.
    public func misspelledKey(_ name: String) -> String? {
        func folded(_ key: String) -> [UInt8] {
            Array(
                key.lowercased().utf8.prefix(200).filter { $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: "_") && $0 != UInt8(ascii: ".") })
        }
        let wanted = folded(name)
        // One letter more or less makes another word of a short one.
        let slips = wanted.count < 6 ? 0 : 1
        var best: (distance: Int, key: String)?
        for key in Array(byName.keys) + Array(refused.keys) where abs(key.utf8.count - name.utf8.count) <= 4 + slips {
            let distance = editDistance(wanted, folded(key))
            guard distance <= slips, best.map({ (distance, key) < ($0.distance, $0.key) }) ?? true else { continue }
            best = (distance, key)
        }
        return best?.key
    }

    /// The known key that looks most like `name`: a declared one, else one of the reference's without effect here.
    public func nearestKey(to name: String) -> String? {
        nearestName(to: name, among: byName.keys) ?? nearestName(to: name, among: Array(withoutEffect.keys) + Array(refused.keys))
    }
}

/// A check that involves several settings. `problem` completes `<name> …`, or is `nil` when all is well.
public struct SettingsRule: Sendable {
    /// The setting to blame: its line is named.
    public let name: String
    public let problem: @Sendable (SettingsValues) -> String?

    public init(_ name: String, problem: @escaping @Sendable (SettingsValues) -> String?) {
        self.name = name
        self.problem = problem
    }
}
