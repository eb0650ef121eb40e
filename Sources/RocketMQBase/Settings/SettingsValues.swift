/// The values of a program's settings: what was set, and where, over the declared defaults.
///
/// Not for hot paths: a read looks a name up. Hot code copies what it needs when it starts.
public struct SettingsValues: Sendable {
    public let schema: SettingsSchema
    private var stored: [String: (value: any SettingValue, origin: SettingOrigin)] = [:]

    public init(_ schema: SettingsSchema) { self.schema = schema }

    /// The value in force.
    public subscript<Value>(_ setting: Setting<Value>) -> Value {
        stored[setting.name]?.value as? Value ?? setting.defaultValue
    }

    public func origin(of setting: some SettingDeclaration) -> SettingOrigin { stored[setting.name]?.origin ?? .builtIn }

    /// The value in force as text; `nil` for a name that is not declared.
    public func text(of name: String) -> String? {
        stored[name]?.value.settingText ?? schema[name]?.defaultText
    }

    // MARK: Setting

    /// Sets one value; throws when it is outside the setting's bounds.
    public mutating func set<Value>(_ setting: Setting<Value>, to value: Value, origin: SettingOrigin) throws(SettingsFinding) {
        try set(setting.name, text: value.settingText, origin: origin)
    }

    /// Sets one value from its text, as it stands in files. Throws an error for a name that is not declared or a text that
    /// is not allowed.
    public mutating func set(_ name: String, text: String, origin: SettingOrigin) throws(SettingsFinding) {
        let place = origin.place
        guard let setting = schema[name] else {
            throw SettingsFinding(.error, source: place.source, line: place.line, key: name, unknownKeyText(name))
        }
        guard let value = setting.parse(text) else {
            throw SettingsFinding(.error, source: place.source, line: place.line, key: name, badValueText(setting, text))
        }
        stored[name] = (value, origin)
    }

    /// Sets all that the text of a file says, and returns what there is to say about it in the order of its lines.
    /// Values that are not allowed are errors and change nothing; the start must not go on with any.
    public mutating func apply(_ text: PropertiesText, source: String) -> [SettingsFinding] {
        var findings: [SettingsFinding] = []
        var firstLines: [String: Int] = [:]
        for entry in text.entries {
            let line = entry.lines.lowerBound
            if let first = firstLines.updateValue(line, forKey: entry.key) {
                findings.append(
                    SettingsFinding(
                        .warning, source: source, line: line, key: entry.key,
                        "\(entry.key) stands in line \(first) already; this line counts"))
            }
            let former = schema.formerNames[entry.key]
            if let former {
                findings.append(
                    SettingsFinding(
                        .notice, source: source, line: line, key: entry.key,
                        "\(entry.key) is the name that \(former) had in earlier releases, and sets it"))
            }
            let key = former ?? entry.key
            if schema[key] != nil {
                do { try set(key, text: entry.value, origin: .file(source, line: line)) } catch { findings.append(error) }
            } else {
                let (severity, message) = undeclared(entry.key, entry.value)
                findings.append(SettingsFinding(severity, source: source, line: line, key: entry.key, message))
            }
        }
        return findings
    }

    /// Reads a file's bytes and applies them.
    public mutating func apply(_ bytes: [UInt8], source: String) -> [SettingsFinding] {
        do throws(SettingsFinding) {
            return apply(try PropertiesText(bytes, source: source), source: source)
        } catch {
            return [error]
        }
    }

    /// What the rules that involve several settings object to, when all values are set.
    public func violatedRules() -> [SettingsFinding] {
        schema.rules.compactMap { rule in
            guard let problem = rule.problem(self) else { return nil }
            let place = (stored[rule.name]?.origin ?? .builtIn).place
            return SettingsFinding(.error, source: place.source, line: place.line, key: rule.name, "\(rule.name) \(problem)")
        }
    }

    /// Puts the home directory in the place of a leading `~` of every path.
    public mutating func expandHome(_ home: String) {
        for setting in schema.settings where setting.unit == .path {
            guard let text = text(of: setting.name), text == "~" || text.hasPrefix("~/"),
                let value = setting.parse(home + text.dropFirst())
            else { continue }
            stored[setting.name] = (value, stored[setting.name]?.origin ?? .builtIn)
        }
    }

    // MARK: What to say

    private func undeclared(_ key: String, _ value: String) -> (SettingsFinding.Severity, String) {
        if let what = schema.refused[key] {
            guard Bool(settingText: trimmingBlanks(value)) == true else {
                return (.notice, "\(key) has no effect here: \(schema.program) has no \(what)")
            }
            return (.error, "\(key) asks for \(what), which \(schema.program) does not have; take the line out to start without")
        }
        if let reason = schema.withoutEffect[key] { return (.notice, "\(key) has no effect here: \(reason)") }
        // What was meant would be missing silently: durability, say.
        if let meant = schema.misspelledKey(key) {
            return (.error, "unknown setting \(printable(key)), which looks like \(meant): correct it, or take the line out")
        }
        return (.warning, unknownKeyText(key))
    }

    private func unknownKeyText(_ key: String) -> String {
        guard !key.isEmpty else { return "a value without a key before it" }
        let shown = printable(key)
        guard let nearest = schema.nearestKey(to: key) else { return "unknown setting \(shown), and no known one has a name like it" }
        return "unknown setting \(shown); did you mean \(nearest)?"
    }

    private func badValueText(_ setting: any SettingDeclaration, _ text: String) -> String {
        let unit = setting.unit == .none || setting.unit == .path ? "" : " (\(setting.unit.rawValue))"
        return "\(setting.name) must be \(setting.allowed)\(unit), not \"\(printable(trimmingBlanks(text)))\""
    }
}

/// The text fit for one line of a terminal or log: control characters shown as `?`, and not longer than 200 characters.
func printable(_ text: String) -> String {
    var result = ""
    for (position, scalar) in text.unicodeScalars.enumerated() {
        if position == 200 { return result + "…" }
        let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
        result.unicodeScalars.append(isControl ? "?" : scalar)
    }
    return result
}
