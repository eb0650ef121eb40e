import RocketMQCommands

NameServerCommand.program.main()
