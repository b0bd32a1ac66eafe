"""What `import xbackend` offers: typed functions that the commands call, too.

Others use `arguments`, `baseline`, `checks`, `comparison`, `conversion`, `listings`, `mitigation`,
`mixed_precision`, `platform_causes`, `reduction`, `report`, `report_files`, `results`, `runs`,
`samples`, `store_check`, `store_upkeep`, `stores`, `studies`.
"""
