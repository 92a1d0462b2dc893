# Completion of rally-cred for PowerShell: rally-cred completions powershell | Out-String | Invoke-Expression, in $PROFILE
# The program itself knows what may come next; without an answer, file names are offered.
Register-ArgumentCompleter -Native -CommandName rally-cred -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $before = @($commandAst.CommandElements |
        Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
        ForEach-Object { "$_" })
    @($before) + "$wordToComplete" | rally-cred __complete 2>$null | ForEach-Object {
        $text, $help = $_ -split "`t", 2
        $tip = if ($help) { $help } else { $text }
        [System.Management.Automation.CompletionResult]::new($text, $text, 'ParameterValue', $tip)
    }
}
