<#
.SYNOPSIS
What the Makefile does, for Windows: .\run.ps1 setup | repro | check | test | pod COMMAND ...
.EXAMPLE
.\run.ps1 setup
.\run.ps1 pod doctor
#>
param([Parameter(Position = 0)][string]$Command = "help", [Parameter(ValueFromRemainingArguments)][string[]]$Rest = @())

$ErrorActionPreference = "Stop"
Set-Location $PSScriptRoot
$env:DVC_NO_ANALYTICS = "1"
$env:PIP_DISABLE_PIP_VERSION_CHECK = "1"
$python = Join-Path ".venv" (Join-Path "Scripts" "python.exe")

function Invoke-Program {
    param([string]$Program, [string[]]$Words)
    & $Program @Words
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
}

function Assert-Ready {
    if (-not (Test-Path $python)) {
        Write-Host "error: no $python; say .\run.ps1 setup"
        exit 2
    }
}

switch ($Command) {
    "setup" {
        if (-not (Test-Path $python)) { Invoke-Program "py" @("-3.11", "-m", "venv", ".venv") }
        Invoke-Program $python @("-m", "pip", "install", "--quiet", "--constraint", "constraints.txt", "--editable", ".[dev]")
    }
    "check" { Assert-Ready; Invoke-Program $python @("-m", "stages", "check") }
    "repro" {
        Assert-Ready
        Invoke-Program $python @("-m", "stages", "check")
        Invoke-Program $python (@("-m", "dvc", "repro") + $Rest)
        Invoke-Program $python @("-m", "stages", "where")
    }
    "test" { Assert-Ready; Invoke-Program $python (@("-m", "pytest", "-q", "-n", "2", "--dist", "loadfile") + $Rest) }
    "pod" {
        $own = if (Test-Path $python) { $python } else { "python" }
        Invoke-Program $own (@("-m", "pod") + $Rest)
    }
    "help" { Write-Host "setup, repro, check, test, pod COMMAND ..." }
    default {
        Write-Host "error: no command '$Command'; known: setup, repro, check, test, pod, help"
        exit 2
    }
}
